"""Every test of a mount runs with each engine."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lib9.mounting import Memfs

ENGINES = ("stock", "shim")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def memfs(mount_point: Path, engine: str) -> Iterator[Callable[..., Memfs]]:
    """Mount memfs with these MountOptions, given as NAME or NAME=VALUE."""
    with ExitStack() as stack:

        def mounted(*options: str, arguments: tuple[str, ...] = ()) -> Memfs:
            return stack.enter_context(Memfs(mount_point, engine, options, arguments=arguments))

        yield mounted
