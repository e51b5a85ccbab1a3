"""Mount first, import after."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib9.fuse import mounts
from tests.lib9.mounting import TOP, wait_until

pytestmark = [pytest.mark.fuse, pytest.mark.root]


def _mount(point: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    log = point.parent / "log"
    command = [sys.executable, "-m", "tests.lib9.mountfirst", str(point), str(log), *words]
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=20)


def _is_mounted(point: Path) -> bool:
    return mounts.fuse_mount_at(os.fsencode(point)) is not None


def _processor_seconds(*arguments: str) -> float:
    """Return what a Python program needs itself; a busy machine makes little difference to that."""
    child = os.posix_spawn(sys.executable, [sys.executable, *arguments], {"PYTHONPATH": str(TOP)})
    _, status, usage = os.wait4(child, 0)
    assert status == 0
    return usage.ru_utime + usage.ru_stime


def test_the_mount_can_be_used_when_the_command_is_back(mount_point: Path) -> None:
    done = _mount(mount_point)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (mount_point / "a").write_text("at once")
    assert (mount_point / "a").read_text() == "at once"


def test_the_command_does_not_wait_for_imports(mount_point: Path) -> None:
    log = str(mount_point.parent / "log")
    command = ("-m", "tests.lib9.mountfirst", str(mount_point), log)
    mounting, importing = [], []
    for _ in range(5):
        mounting.append(_processor_seconds(*command))
        mounts.unmount(os.fsencode(mount_point), lazy=True)
        importing.append(_processor_seconds("-c", "import lib9.fuse.session"))
    assert min(mounting) < 0.6 * min(importing)


def test_with_grace_the_command_waits_until_the_daemon_answers(mount_point: Path) -> None:
    done = _mount(mount_point, "10")
    assert done.returncode == 0
    assert _is_mounted(mount_point)
    subprocess.run(["umount", mount_point], check=True)


@pytest.mark.parametrize(
    ("failure", "said", "logged"),
    [
        ("store", "store is away", "store is away"),
        ("bug", "ValueError: a bug", "Traceback"),
    ],
)
def test_an_early_failure_is_told_and_unmounts(
    mount_point: Path, failure: str, said: str, logged: str
) -> None:
    done = _mount(mount_point, failure, "10")
    assert done.returncode == 1
    assert done.stderr == f"{mount_point}: {said}\n"
    wait_until(lambda: not _is_mounted(mount_point))
    wait_until(lambda: logged in (mount_point.parent / "log").read_text())


def test_a_log_that_cannot_be_is_told_before_anything_is_mounted(mount_point: Path) -> None:
    log = mount_point.parent / "nosuch" / "log"
    command = [sys.executable, "-m", "tests.lib9.mountfirst", str(mount_point), str(log)]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (1, f"{log}: No such file or directory\n")
    assert not _is_mounted(mount_point)


def test_a_failure_after_the_command_is_back_unmounts(mount_point: Path) -> None:
    _mount(mount_point, "store")
    wait_until(lambda: not _is_mounted(mount_point))
    assert "store is away" in (mount_point.parent / "log").read_text()
