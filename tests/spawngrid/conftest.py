"""Grids for tests: started once for a module, and nothing of them is left."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import need
from tests.spawngrid.kit import PROGRAMS, Grid


def need_grid() -> None:
    need("root", os.geteuid() == 0, "not root")
    need("fuse", os.access("/dev/fuse", os.R_OK | os.W_OK), "no usable /dev/fuse")
    for name in PROGRAMS:
        need("grid", shutil.which(name) is not None, f"{name} is not installed")


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    """A grid without nodes."""
    need_grid()
    made = Grid(tmp_path_factory.mktemp("grid"))
    yield made
    made.close()
    assert str(made.home) not in Path("/proc/self/mountinfo").read_text()
