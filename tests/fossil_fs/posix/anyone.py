"""A machine that other users reach, unlike what lies in pytest's own directories."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.fossil_fs.cli.mounts import Machine, machine_at
from tests.kit.guard import watch

HOMES = ("DATA", "STATE", "CACHE", "CONFIG")


@contextmanager
def directory_for_all() -> Iterator[Path]:
    with TemporaryDirectory(prefix="spawngrid-posix-") as path:
        os.chmod(path, 0o711)
        watch(Path(path))
        yield Path(path)


@contextmanager
def machine_for_all(top: Path) -> Iterator[Machine]:
    """A machine in a directory of `directory_for_all`; the commands find it by the environment."""
    home = top / "home"
    home.mkdir(mode=0o711)
    with pytest.MonkeyPatch.context() as patch:
        for name in HOMES:
            patch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
        patch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
        patch.delenv("venti", raising=False)
        for name in (*HOMES, "RUN"):
            (home / name.lower()).mkdir(mode=0o700)
        with machine_at(home) as machine:
            yield machine


@dataclass
class Mounted:
    """A mount that the tests of a module share."""

    machine: Machine
    point: Path
    options: tuple[str, ...] = ("--allow-other",)
