"""A watched store behaves as any; what it counts, and what it says of a store that is away."""

import pytest

from lib9.errors import Exit, SpawngridError
from tests.contracts.block_store import BlockStoreContract, MakeStore
from venti_store.errors import NoSuchBlock, Unreachable
from venti_store.interfaces import Block, Key
from venti_store.kind import Kind
from venti_store.score import BLAKE3, Family
from venti_store.stores.memory import MemoryStore
from venti_store.stores.watched import WatchedStore


class Away(MemoryStore):
    def __init__(self) -> None:
        super().__init__(BLAKE3)
        self.error: SpawngridError | None = None

    async def get_many(self, keys):  # type: ignore[no-untyped-def]
        if self.error is not None:
            raise self.error
        return await super().get_many(keys)


BLOCK = Block(BLAKE3.score(b"data"), Kind.DATA, b"data")
KEY = Key(BLOCK.score, Kind.DATA)


class TestWatchedStore(BlockStoreContract):
    @pytest.fixture
    def make_store(self) -> MakeStore:
        async def make(family: Family) -> WatchedStore:
            return WatchedStore(MemoryStore(family))

        return make


async def test_counts() -> None:
    store = WatchedStore(MemoryStore(BLAKE3))
    await store.put_many([BLOCK])
    await store.get_many([KEY, KEY])
    watched = store.watched
    assert (watched.blocks_written, watched.bytes_written) == (1, 4)
    assert (watched.blocks_read, watched.bytes_read) == (2, 8)
    assert (sum(watched.read_counts), sum(watched.write_counts)) == (1, 1)
    assert store.hits == 0


async def test_trouble_comes_and_goes_but_a_missing_block_is_none() -> None:
    away = Away()
    store = WatchedStore(away)
    await store.put_many([BLOCK])
    away.error = Unreachable("tcp!x!1: no answer in 1 s")
    with pytest.raises(Unreachable):
        await store.get_many([KEY])
    assert store.trouble == "tcp!x!1: no answer in 1 s"
    assert store.watched.trouble_since > 0
    away.error = None
    await store.get_many([KEY])
    assert store.trouble == ""
    away.error = NoSuchBlock("x: not here")
    assert away.error.exit_code is Exit.NOT_FOUND
    with pytest.raises(NoSuchBlock):
        await store.get_many([KEY])
    assert store.trouble == ""
    assert store.watched.failed == 2
