"""Cgroups: layouts as machines have them, and one suite for both versions on this machine's kernel."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from spawngrid.environment.cgroups.group import Group, children, read_layout
from spawngrid.environment.cgroups.layout import Layout, enabling, parse_layout

_V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
_V1 = (
    "31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "33 30 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
    "34 30 0:30 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n"
    "35 30 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
    "36 30 0:27 / /elsewhere\\040too rw - cgroup cgroup rw,memory\n"
)
_HYBRID = _V1 + "37 30 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


def test_a_machine_with_version_2() -> None:
    layout = parse_layout(_V2, "cpuset cpu io memory pids")
    assert (layout.kind, layout.missing(), layout.can_freeze()) == ("v2", [], True)
    assert layout.directories("/a/b") == ["/sys/fs/cgroup/a/b"]
    assert layout.of("memory", "/a") == layout.of("freezer", "/a") == "/sys/fs/cgroup/a"
    assert parse_layout(_V2, "cpu").missing() == ["memory", "pids"]


def test_a_machine_with_version_1_and_one_with_both() -> None:
    for table, kind in ((_V1, "v1"), (_HYBRID, "hybrid")):
        layout = parse_layout(table, "hugetlb")
        assert (layout.kind, layout.missing(), layout.can_freeze()) == (kind, [], True)
        assert layout.of("memory", "/a") == "/sys/fs/cgroup/memory/a"
        assert layout.directories("/a") == [
            f"/sys/fs/cgroup/{name}/a" for name in ("memory", "cpu,cpuacct", "pids", "freezer")
        ]
        assert layout.of("blkio", "/a") is None
    assert "/sys/fs/cgroup/unified/a" in parse_layout(_HYBRID).everywhere("/a")
    assert parse_layout("").kind == "none"
    assert parse_layout("").missing() == ["memory", "cpu", "pids"]


def test_every_group_above_passes_the_controllers_on() -> None:
    assert [path for path, _ in enabling("/spawngrid/k/id/guest")] == [
        "",
        "/spawngrid",
        "/spawngrid/k",
        "/spawngrid/k/id",
    ]
    assert {text for _, text in enabling("/x")} == {"+memory +cpu +pids"}


def test_a_new_group_of_version_2(tmp_path: Path) -> None:
    """What is written, on a directory that takes it as a cgroup would."""
    layout = Layout({}, str(tmp_path), frozenset(("memory", "cpu", "pids")))
    group = Group(layout, "/spawngrid/k/id/service")
    group.create()
    for above in ("", "spawngrid", "spawngrid/k", "spawngrid/k/id"):
        assert (tmp_path / above / "cgroup.subtree_control").read_text() == "+memory +cpu +pids"
    group.add(123)
    directory = tmp_path / "spawngrid/k/id/service"
    assert (directory / "cgroup.procs").read_text() == "123"
    for name, text in {
        "memory.current": "4096\n",
        "cpu.stat": "usage_usec 1500000\nuser_usec 1\n",
        "pids.current": "3\n",
    }.items():
        (directory / name).write_text(text)
    assert group.usage() == (4096, 1.5, 3)
    (directory / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    assert group.freeze()
    assert (directory / "cgroup.freeze").read_text() == "1"
    assert group.is_frozen()
    group.thaw()
    assert not group.is_frozen()
    (directory / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    assert not group.freeze(seconds=0.01)
    assert (directory / "cgroup.freeze").read_text() == "0", "who cannot be stopped goes on"


def _layouts() -> dict[str, Layout]:
    here = read_layout()
    found = {"version 1": here} if here.v1 else {}
    if here.unified:
        found["version 2"] = Layout({}, here.unified, here.v2)
    return found


@pytest.fixture(params=_layouts() or ["none"])
def layout(request: pytest.FixtureRequest) -> Layout:
    if os.geteuid() != 0 or request.param == "none":
        pytest.skip("no cgroups that this process may change")
    return _layouts()[request.param]


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.root
def test_a_group_from_beginning_to_end(layout: Layout, sleeper: "subprocess.Popen[bytes]") -> None:
    name = f"test-{os.getpid()}"
    group = Group(layout, f"/spawngrid/{name}/guest")
    try:
        group.create()
        group.create()
        group.add(sleeper.pid)
        assert group.processes() == {sleeper.pid}
        assert name in children(layout, "/spawngrid")
        assert group.freeze()
        assert group.is_frozen()
        group.thaw()
        assert not group.is_frozen()
        assert group.freeze()
        group.kill()  # one that stands still too
        assert sleeper.wait(60) == -9
        assert group.processes() == set()
    finally:
        group.thaw()
        sleeper.kill()
        sleeper.wait()
        group.remove()
        assert Group(layout, f"/spawngrid/{name}").remove()
    assert not group.remove()
