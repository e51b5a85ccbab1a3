"""A store that asks peers for what it lacks."""

import os

import pytest

from lib9.streams import Dial, listen
from lib9.waiting import run_now
from tests.contracts.block_store import BlockStoreContract, blocks_of, keys_of
from tests.kit.serving import serving
from venti_store.errors import CorruptBlock, NoSuchBlock, Unreachable
from venti_store.interfaces import Key
from venti_store.kind import Kind
from venti_store.open import open_store
from venti_store.score import BLAKE3
from venti_store.stores.backed import BackedStore
from venti_store.stores.counting import CountingStore
from venti_store.stores.lmdb.environment import create
from venti_store.stores.memory import MemoryStore

BLOCKS = blocks_of(BLAKE3, *(b"%d" % n * 50 for n in range(20)))
KEYS = keys_of(BLOCKS)


class TestBackedStore(BlockStoreContract):
    @pytest.fixture
    def make_store(self):
        async def make(family):
            async def nobody():
                raise Unreachable("nobody there")

            return BackedStore(MemoryStore(family), [nobody])

        return make


async def test_what_is_missing_or_bad_comes_from_a_peer_once():
    here, there = MemoryStore(), CountingStore(MemoryStore())
    await here.put_many(BLOCKS[:15])
    await there.put_many(BLOCKS)
    here.blocks[KEYS[3]] = b"rot"
    opened = []

    async def nobody():
        opened.append("nobody")
        raise Unreachable("nobody there")

    async def peer():
        opened.append("peer")
        return there

    store = BackedStore(here, [nobody, peer])
    assert await store.get_many(KEYS[:3]) == [b.data for b in BLOCKS[:3]]
    assert opened == []
    for _ in range(2):
        assert await store.get_many(KEYS) == [b.data for b in BLOCKS]
    assert opened == ["nobody", "peer"]
    assert there.counted.blocks_read == 6
    assert await here.get_many(KEYS) == [b.data for b in BLOCKS]
    with pytest.raises(NoSuchBlock, match="not in memory"):
        await store.get_many([*KEYS, Key(BLAKE3.score(b"x"), Kind.DATA)])
    await store.aclose()


async def test_a_peer_that_has_it_bad_is_no_help():
    here, there = MemoryStore(), MemoryStore()
    await there.put_many(BLOCKS)
    there.blocks[KEYS[0]] = b"rot"
    async with serving(there) as server:
        store = BackedStore(here, [server.client])
        with pytest.raises(NoSuchBlock, match="not in memory"):
            await store.get_many(KEYS[:1])
        assert await store.get_many(KEYS[1:]) == [b.data for b in BLOCKS[1:]]
        await store.aclose()


def test_without_an_event_loop_it_is_the_store_itself():
    here = MemoryStore()
    run_now(here.put_many(BLOCKS))
    here.blocks[KEYS[0]] = b"rot"
    store = BackedStore(here, [])
    assert run_now(store.get_many(KEYS[1:])) == [b.data for b in BLOCKS[1:]]
    with pytest.raises(CorruptBlock):
        run_now(store.get_many(KEYS))


async def test_the_nodes_of_the_ndb_file_are_asked(home, tmp_path, nursery):
    import trio

    from lib9 import keys, places
    from venti_store.server import Server

    places.use(os.environ)
    there = MemoryStore()
    await there.put_many(BLOCKS)
    socket = tmp_path / "sock"
    [listener] = await listen(Dial("unix", path=str(socket)))
    nursery.start_soon(trio.serve_listeners, Server(there).converse, [listener])
    key = keys.create(str(home / "config/spawngrid/key"))
    (home / "config/spawngrid/ndb").write_text(
        f"sys=there dial=unix!{socket} pubkey={keys.format_key(key.public)}\n"
    )
    create(str(tmp_path / "store"), BLAKE3)
    store = await open_store(f"peers!{tmp_path}/store")
    assert await store.get_many(KEYS) == [b.data for b in BLOCKS]
    assert await store.have_many(KEYS) == [True] * len(KEYS)
    await store.aclose()
