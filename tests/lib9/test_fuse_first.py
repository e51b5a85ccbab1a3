"""Mount first, import after."""

import os
import subprocess
import sys
import time
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


def test_the_mount_can_be_used_when_the_command_is_back(mount_point: Path) -> None:
    times = []
    for _ in range(5):
        start = time.monotonic()
        done = _mount(mount_point)
        times.append(time.monotonic() - start)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        (mount_point / "a").write_text("at once")
        assert (mount_point / "a").read_text() == "at once"
        subprocess.run(["umount", mount_point], check=True)
    assert min(times) < 0.12  # about three times what it takes on an idle machine


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


def test_a_failure_after_the_command_is_back_unmounts(mount_point: Path) -> None:
    _mount(mount_point, "store")
    wait_until(lambda: not _is_mounted(mount_point))
    assert "store is away" in (mount_point.parent / "log").read_text()
