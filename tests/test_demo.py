"""`tools/demo` shows the main job, with a mount and without, and leaves nothing behind."""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.conftest import need

TOP = Path(__file__).parents[1]
SOURCE = TOP / "docs/explanation"


def demo(tmp_path: Path, *before: str) -> str:
    environ = os.environ | {
        "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
        "TMPDIR": str(tmp_path),
    }
    done = subprocess.run(
        [*before, str(TOP / "tools/demo"), str(SOURCE)],
        env=environ, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    assert "no difference" in done.stdout
    assert "Done" in done.stdout
    return done.stdout


@pytest.mark.fuse
def test_with_a_mount(tmp_path: Path) -> None:
    said = demo(tmp_path)
    assert "Left out" not in said
    assert "a line of mine" in said
    assert "forked from" in said


@pytest.mark.root
def test_without_a_way_to_mount(tmp_path: Path) -> None:
    hide = 'test -e /dev/fuse || exec "$@"; mount --bind /dev/null /dev/fuse && exec "$@"'
    said = demo(tmp_path, "unshare", "-m", "sh", "-c", hide, "hide")
    assert "Left out: mounting" in said
    assert "note" in said


@pytest.mark.root
@pytest.mark.fuse
@pytest.mark.long
def test_a_grid_of_two_nodes(tmp_path: Path) -> None:
    for program in ("runc", "catatonit", "ip", "nsenter", "busybox"):
        need("grid", shutil.which(program) is not None, f"{program} is not installed")
    environ = os.environ | {"TMPDIR": str(tmp_path), "SPAWNGRID_DEMO_ROOT": "busybox"}
    done = subprocess.run(
        [TOP / "tools/demo-grid"],
        env=environ, capture_output=True, text=True, check=False, timeout=170,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "made on work" in done.stdout
    assert "1000" in done.stdout
    assert "cpu1: 0 things left behind" in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
