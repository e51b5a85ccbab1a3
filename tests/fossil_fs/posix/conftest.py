"""Places for tests of what programs may expect: a tmpfs shows that they may, a mount must do the same."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fossil_fs.posix.anyone import Mounted, directory_for_all, machine_for_all
from tests.fossil_fs.posix.pair import Pair


@pytest.fixture(scope="module")
def open_to_all() -> Iterator[Path]:
    with directory_for_all() as path:
        yield path


@pytest.fixture(scope="module")
def mounted(open_to_all: Path) -> Iterator[Mounted]:
    """A fossil mount that all users may enter."""
    with machine_for_all(open_to_all) as machine:
        point = machine.point("mnt")
        machine.mount(machine.root, point, "--allow-other")
        point.chmod(0o777)
        yield Mounted(machine, point)


@pytest.fixture(params=["plain", "writeback"])
def pair(request: pytest.FixtureRequest, tmpfs: Path) -> Iterator[Pair]:
    """A mount and the tmpfs, with a directory in both."""
    options = ("--allow-other", *(["--writeback"] if request.param == "writeback" else []))
    with directory_for_all() as top, machine_for_all(top) as machine:
        point = machine.point("mnt")
        machine.mount(machine.root, point, *options)
        point.chmod(0o777)
        pair = Pair(Mounted(machine, point, options), tmpfs)
        pair.begin()
        yield pair
        for left in tmpfs.iterdir():
            shutil.rmtree(left)


@pytest.fixture(scope="module")
def tmpfs(open_to_all: Path) -> Iterator[Path]:
    path = open_to_all / "tmpfs"
    path.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "mode=777,noatime", "posix-test", path], check=True
    )
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.fixture(params=["tmpfs", "fossil"])
def place(request: pytest.FixtureRequest) -> Path:
    """An empty directory that everyone may write to; the second time on a fossil mount."""
    if request.param == "tmpfs":
        top: Path = request.getfixturevalue("tmpfs")
    else:
        top = request.getfixturevalue("mounted").point
    path = top / str(len(os.listdir(top)))
    path.mkdir()
    path.chmod(0o777)
    return path
