"""Machines with other cgroups than this one: of version 2 alone, as most have them, and none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spawngrid.environment.cgroups.group import read_layout
from tests.conftest import need

pytestmark = [pytest.mark.root, pytest.mark.fuse]
_LIFE = """
import sys
from pathlib import Path
from spawngrid.environment.cgroups.group import read_layout
from spawngrid.environment.interface import CannotIsolate, Limits
from spawngrid.environment.runtimes.bubblewrap import Bubblewrap
from tests.spawngrid.environment.machine import Machine

layout = read_layout()
assert layout.kind == "v2", layout
machine = Machine(Path(sys.argv[1]))
try:
    limits = None if layout.missing() else Limits()
    usual = Bubblewrap.lacks
    for lacks in (usual, lambda self: "not wanted here"):
        Bubblewrap.lacks = lacks
        with machine.spawned(limits=limits) as env:
            assert "0::/\\n" in machine.sh(env, "cat /proc/self/cgroup").out
            machine.sh(env, "echo kept > /file")
            saved = machine.node.save(env.id)
            assert saved.frozen
            assert machine.stored(saved.score, "file") == b"kept\\n"
    if layout.missing():
        try:
            machine.node.start(machine.spec())
        except CannotIsolate as error:
            assert "no controller" in str(error)
        else:
            raise AssertionError("limits were asked for and not there")
finally:
    machine.close()
"""


_NONE = """
import sys
from pathlib import Path
from spawngrid.environment.interface import CannotIsolate
from tests.spawngrid.environment.machine import Machine

machine = Machine(Path(sys.argv[1]))
try:
    [finding] = [f for f in machine.node.doctor() if f.name == "cgroups"]
    assert (finding.level, finding.remedy) == ("lacks", "mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    try:
        machine.node.start(machine.spec(limits=None))
    except CannotIsolate as error:
        assert "none are mounted" in str(error)
    else:
        raise AssertionError("it was started")
finally:
    machine.close()
"""


_NAMED = """
import sys
from pathlib import Path
from spawngrid.environment.cgroups.group import read_layout
from tests.spawngrid.environment.machine import Machine

layout = read_layout()
assert (layout.kind, list(layout.v1)) == ("v1", ["systemd"]), layout
machine = Machine(Path(sys.argv[1]))
try:
    with machine.spawned(limits=None) as env:
        assert "name=systemd:/\\n" in machine.sh(env, "cat /proc/self/cgroup").out
        seen = machine.sh(env, "cd /sys/fs/cgroup; ls -d *; ls -d */spawngrid").out
        assert seen == "systemd\\n", seen
        assert not machine.node.save(env.id).frozen, "said, where it cannot be had"
finally:
    machine.close()
"""


def test_a_life_on_version_1_without_a_controller(tmp_path: Path) -> None:
    """A machine that runc makes nothing on: it wants a controller for devices."""
    if not os.path.exists("/sys/fs/cgroup/systemd"):
        pytest.skip("no hierarchy of version 1 without a controller")
    table = "mount -t tmpfs none /sys/fs/cgroup && mkdir /sys/fs/cgroup/systemd"
    named = "mount -t cgroup -o none,name=systemd none /sys/fs/cgroup/systemd"
    live(f"umount -l -R /sys/fs/cgroup && {table} && {named}", _NAMED, tmp_path)


def test_a_life_on_version_2(tmp_path: Path) -> None:
    if not read_layout().unified:
        pytest.skip("no cgroups of version 2")
    live("umount -l -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup", _LIFE, tmp_path)


def test_without_cgroups_nothing_is_started(tmp_path: Path) -> None:
    live("umount -l -R /sys/fs/cgroup", _NONE, tmp_path)


def live(before: str, life: str, tmp_path: Path) -> None:
    """Run a life on a machine whose mounts are changed first, for it alone."""
    for name in ("runc", "bwrap"):
        need("grid", shutil.which(name) is not None, f"{name} is not installed")
    command = [sys.executable, "-c", life, str(tmp_path / "node")]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{before} && exec "$@"', "sh", *command],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
