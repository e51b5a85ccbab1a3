"""Places for tests of what programs may expect: a tmpfs shows that they may, a mount must do the same."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.fossil_fs.cli.mounts import Machine, machine_at

HOMES = ("DATA", "STATE", "CACHE", "CONFIG")


@dataclass
class Mounted:
    """A mount that the tests of a module share."""

    machine: Machine
    point: Path


@pytest.fixture(scope="module")
def open_to_all() -> Iterator[Path]:
    """A directory that other users reach, unlike pytest's own."""
    with TemporaryDirectory(prefix="spawngrid-posix-") as path:
        os.chmod(path, 0o711)
        yield Path(path)


@pytest.fixture(scope="module")
def mounted(open_to_all: Path) -> Iterator[Mounted]:
    """A fossil mount that all users may enter."""
    home = open_to_all / "home"
    home.mkdir(mode=0o711)
    with pytest.MonkeyPatch.context() as patch:
        for name in HOMES:
            patch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
        patch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
        patch.delenv("venti", raising=False)
        for name in (*HOMES, "RUN"):
            (home / name.lower()).mkdir(mode=0o700)
        with machine_at(home) as machine:
            point = machine.point("mnt")
            machine.mount(machine.root, point, "--allow-other")
            point.chmod(0o777)
            yield Mounted(machine, point)


@pytest.fixture(scope="module")
def tmpfs(open_to_all: Path) -> Iterator[Path]:
    path = open_to_all / "tmpfs"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=777", "posix-test", path], check=True)
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
