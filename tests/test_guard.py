"""A test whose readers no signal reaches ends all the same, and so does the run."""

import subprocess
import sys
from pathlib import Path

import pytest

from lib9.fuse.options import ENGINE_VARIABLE, STOCK
from tests.commands import environment
from tests.hubfs.test_mount import wait_until
from tests.kit.hubs import hub_processes_of
from tests.kit.mounts import mounts_below

pytestmark = [pytest.mark.fuse, pytest.mark.root]

TOP = Path(__file__).parents[1]

HANGING = """
import subprocess
from tests.kit.hubs import hub_mount

def test_waits(tmp_path, home):
    with hub_mount(tmp_path / "hubs") as hubs:
        (hubs / "h").touch()
        with subprocess.Popen(["cat", hubs / "h"]):
            (hubs / "h").read_bytes()

def test_after_them():
    pass
"""


def test_a_run_ends_whose_readers_no_signal_ends(tmp_path: Path) -> None:
    file = tmp_path / "test_hanging.py"
    file.write_text(HANGING)
    words = [
        *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-q"),
        *("-c", TOP / "pyproject.toml", "--timeout", "5", "--basetemp", tmp_path / "base", file),
    ]
    done = subprocess.run(
        words, cwd=TOP, env=environment({ENGINE_VARIABLE: STOCK}), capture_output=True,
        text=True, check=False, timeout=100,
    )  # fmt: skip
    assert "1 failed, 1 passed" in done.stdout, done.stdout[-4000:]
    assert mounts_below(tmp_path) == []
    home = tmp_path / "base" / "test_waits0"
    wait_until(lambda: hub_processes_of(home) == [], 60)
