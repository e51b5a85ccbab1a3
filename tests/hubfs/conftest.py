"""Hub mounts as real processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.hubs import hub_mount


@pytest.fixture
def hubs(tmp_path: Path, home: Path) -> Iterator[Path]:
    """A mounted hub file system."""
    with hub_mount(tmp_path / "hubs") as point:
        yield point
