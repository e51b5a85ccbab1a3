"""One node for a module's tests: its keeper and hubs are started once."""

import os
import shutil
from collections.abc import Iterator

import pytest

from spawngrid.environment.interface import Limits
from tests.conftest import need
from tests.spawngrid.environment.machine import Machine


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    need("root", os.geteuid() == 0, "not root")
    need("fuse", os.access("/dev/fuse", os.R_OK | os.W_OK), "no usable /dev/fuse")
    for name in ("runc", "bwrap", "catatonit", "busybox"):
        need("grid", shutil.which(name) is not None, f"{name} is not installed")
    made = Machine(tmp_path_factory.mktemp("node"))
    yield made
    made.close()


@pytest.fixture(params=["runc", "bubblewrap"])
def limits(request: pytest.FixtureRequest) -> Limits | None:
    """Return what has an environment made by each of the runtimes."""
    return Limits() if request.param == "runc" else None
