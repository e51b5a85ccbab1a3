"""The contract suites over the stores of this machine."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.contracts.block_store import (
    BlockStoreContract,
    BlockViewsContract,
    LogContract,
    blocks_of,
    keys_of,
)
from venti_store.errors import CorruptBlock, NoSuchBlock, StoreError, StoreFull, Unreachable
from venti_store.score import BLAKE3, Family
from venti_store.stores.counting import Counted, CountingStore
from venti_store.stores.faulty import Faults, FaultyStore
from venti_store.stores.lmdb.environment import create
from venti_store.stores.lmdb.store import LmdbStore
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


class TestFaultyStoreWithoutFaults(BlockStoreContract):
    @pytest.fixture
    def make_store(self) -> Callable[[Family], Awaitable[FaultyStore]]:
        async def make(family: Family) -> FaultyStore:
            return FaultyStore(CountingStore(MemoryStore(family)), Faults())

        return make


async def test_faults_are_those_asked_for_and_the_same_for_a_seed() -> None:
    blocks = blocks_of(BLAKE3, *(b"%d" % n for n in range(200)))
    outcomes = []
    for _ in range(2):
        store = FaultyStore(MemoryStore(), Faults(missing=0.2, corrupt=0.2), seed=7)
        await store.put_many(blocks)
        here = await store.have_many(keys_of(blocks))
        results = []
        for key, is_here in zip(keys_of(blocks), here, strict=True):
            try:
                await store.get_many([key])
                results.append("good")
                assert is_here
            except CorruptBlock:
                results.append("corrupt")
            except NoSuchBlock:
                results.append("missing")
                assert not is_here
        outcomes.append(results)
        await store.put_many(blocks)
        assert await store.get_many(keys_of(blocks)) == [b.data for b in blocks]
    assert outcomes[0] == outcomes[1]
    assert all(20 < outcomes[0].count(what) < 70 for what in ("missing", "corrupt"))


async def test_full_unreachable_and_failing_sync() -> None:
    store = FaultyStore(MemoryStore(), Faults(bytes_max=10, sync_fails=1))
    await store.put_many(blocks_of(BLAKE3, b"0123456789"))
    with pytest.raises(StoreFull):
        await store.put_many(blocks_of(BLAKE3, b"x"))
    with pytest.raises(StoreError):
        await store.sync()
    with pytest.raises(Unreachable):
        await FaultyStore(MemoryStore(), Faults(unreachable=1)).get_many([])


async def test_counting() -> None:
    store = CountingStore(MemoryStore())
    blocks = blocks_of(BLAKE3, b"12345", b"678")
    await store.put_many(blocks)
    await store.sync()
    await store.get_many(keys_of(blocks[:1]))
    assert store.counted == Counted(
        get_calls=1, blocks_read=1, bytes_read=5, put_calls=1, blocks_written=2, bytes_written=8,
        syncs=1,
    )  # fmt: skip
