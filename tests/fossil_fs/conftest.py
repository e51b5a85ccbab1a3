"""A file system without a kernel, over a store in memory."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fossil_fs.drive import Driver, empty_root, new_scratch
from venti_store.stores.memory import MemoryStore


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def fs(store: MemoryStore, tmp_path: Path) -> AsyncIterator[Driver]:
    driver = await Driver.open(store, new_scratch(tmp_path, store, await empty_root(store)))
    yield driver
    driver.fs.overlay.scratch.check()
    driver.close()
