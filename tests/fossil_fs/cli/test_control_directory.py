"""`.fossilfs` on real mounts, by echo and cat, with each engine, with and without open requests."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib9.errors import Exit
from tests.fossil_fs.cli.mounts import Machine, machine_at

pytestmark = [pytest.mark.fuse, pytest.mark.root]


@pytest.fixture
def machine(home: Path) -> Iterator[Machine]:
    with machine_at(home) as made:
        yield made


def sh(point: Path, script: str) -> str:
    command = ["sh", "-c", script]
    return subprocess.run(command, cwd=point, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("engine", ["shim", "stock"])
@pytest.mark.parametrize("options", [[], ["--writeback"]])
def test_echo_and_cat(machine: Machine, engine: str, options: list[str]) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point, *options, env={"SPAWNGRID_ENGINE": engine})
    control = point / ".fossilfs"
    assert os.listdir(point) == []
    assert {"ctl", "status", "score"} <= set(os.listdir(control))
    assert f"engine={engine}\n" in (control / "status").read_text()
    assert "status" in sh(point, "echo help > .fossilfs/ctl; cat .fossilfs/ctl")
    assert sh(point, "echo sync > .fossilfs/ctl; cat .fossilfs/ctl") == ""
    (point / "file").write_text("x")
    score = sh(point, "echo save >.fossilfs/ctl; cat .fossilfs/ctl").strip()
    assert score != machine.root
    assert (control / "score").read_text().strip() == score == machine.save(point)
    with pytest.raises(OSError) as wrong:
        (control / "ctl").write_text("nonsense\n")
    assert wrong.value.errno == errno.EINVAL
    said = (control / "ctl").read_text()
    assert said == "error: nonsense: no such word (see help)\n"
    for name in ("ctl", "status", "score"):
        assert (control / name).stat().st_size == len((control / name).read_bytes())
    with pytest.raises(PermissionError):
        (control / "x").mkdir()
    with open(control / "ctl", "ab", buffering=0) as ctl:  # appended, in several writes
        ctl.write(b"help\n")
        ctl.write(b"last\n")
    assert (control / "ctl").read_text().strip() == score


def test_another_name_or_none(machine: Machine) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point, "--ctl-dir", ".control")
    assert (point / ".control/score").read_text().strip() == machine.root
    assert not (point / ".fossilfs").exists()
    machine.run("fossil-umount", point)
    machine.mount(machine.root, point, "--ctl-dir", "none")
    assert not (point / ".fossilfs").exists()
    machine.run("fossil-umount", point)
    machine.run("fossil-mount", machine.root, point, "--ctl-dir", "a/b", status=Exit.USAGE)


def test_a_read_only_mount_takes_commands(machine: Machine) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point, "--ro")
    assert (point / ".fossilfs/score").read_text().strip() == machine.root
    machine.run("fossil-umount", point)
