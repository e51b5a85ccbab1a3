"""The contract suites over the stores of this machine."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.contracts.block_store import BlockStoreContract, BlockViewsContract, LogContract
from venti_store.score import Family
from venti_store.stores.lmdb import LmdbStore, create
from venti_store.stores.memory import MemoryStore


class TestMemoryStore(BlockStoreContract, BlockViewsContract, LogContract):
    @pytest.fixture
    def make_store(self) -> Callable[[Family], Awaitable[MemoryStore]]:
        async def make(family: Family) -> MemoryStore:
            return MemoryStore(family)

        return make


class TestLmdbStore(BlockStoreContract, BlockViewsContract, LogContract):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Callable[[Family], Awaitable[LmdbStore]]:
        async def make(family: Family) -> LmdbStore:
            create(str(tmp_path / "store"), family)
            return LmdbStore(str(tmp_path / "store"))

        return make
