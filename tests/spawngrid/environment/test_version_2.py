"""A whole life on a machine with cgroups of version 2 alone, as most are: in a mount namespace of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spawngrid.environment.cgroups.group import read_layout

pytestmark = [pytest.mark.root, pytest.mark.fuse]
_LIFE = """
import sys
from pathlib import Path
from spawngrid.environment.cgroups.group import read_layout
from spawngrid.environment.interface import CannotIsolate, Limits
from tests.spawngrid.environment.machine import Machine

layout = read_layout()
assert layout.kind == "v2", layout
machine = Machine(Path(sys.argv[1]))
try:
    limits = None if layout.missing() else Limits()
    with machine.spawned(limits=limits) as env:
        assert "0::/" in machine.sh(env, "cat /proc/self/cgroup").out
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


def test_a_life_on_version_2(tmp_path: Path) -> None:
    if not read_layout().unified or shutil.which("runc") is None:
        pytest.skip("no cgroups of version 2, or no runc")
    shell = 'umount -l -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec "$@"'
    life = [sys.executable, "-c", _LIFE, str(tmp_path / "node")]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", shell, "sh", *life],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
