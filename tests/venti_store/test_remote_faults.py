"""Client and server over streams that break anywhere, against a server that forgets what is not synced.

The model is two sets: what was put, and what a sync has returned for. Whatever happens, the second
is on stable storage, and a read gives the right bytes or an error.
"""

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from lib9.errors import SpawngridError
from tests.contracts.block_store import blocks_of, keys_of
from tests.kit.serving import Serving
from venti_store.errors import NoSuchBlock, Unreachable
from venti_store.score import BLAKE3
from venti_store.stores.memory import MemoryStore

BLOCKS = blocks_of(BLAKE3, *(b"block %d " % n * (1 + 97 * n) for n in range(40)))
KEYS = keys_of(BLOCKS)


class Durable(MemoryStore):
    """Keeps what was synced, and what it pleases of the rest, when it is killed."""

    def __init__(self):
        super().__init__()
        self.safe = {}

    async def put_many(self, blocks):
        await trio.lowlevel.checkpoint()
        await super().put_many(blocks)

    async def sync(self):
        before = dict(self.blocks)
        await trio.sleep(0.01)
        self.safe.update(before)

    def killed(self):
        after = Durable()
        after.blocks, after.safe = dict(self.safe), dict(self.safe)
        return after


class Fragile(trio.abc.Stream):
    """Delivers in pieces of `piece` bytes, and breaks for good after `life` bytes, either way."""

    def __init__(self, inner, life, piece):
        self.inner, self.life, self.piece = inner, life, piece

    async def send_all(self, data):
        await self.inner.send_all(bytes(data)[: self.life])
        await self.spend(len(data))

    async def receive_some(self, max_bytes=None):
        data = await self.inner.receive_some(min(self.piece, max_bytes or self.piece))
        await self.spend(len(data))
        return data

    async def spend(self, size):
        self.life -= size
        if self.life < 0:
            await trio.aclose_forcefully(self.inner)
            raise trio.BrokenResourceError("broken by intent")

    async def wait_send_all_might_not_block(self):
        await self.inner.wait_send_all_might_not_block()

    async def aclose(self):
        await self.inner.aclose()


class FragileServing(Serving):
    def __init__(self, nursery, store, lives, piece):
        self.lives, self.piece = list(lives), piece
        super().__init__(nursery, store)

    def pair(self):
        ours, theirs = trio.testing.memory_stream_pair()
        life = self.lives.pop(0) if self.lives else 1 << 30
        return Fragile(ours, life, self.piece), theirs


some = st.lists(st.integers(0, len(BLOCKS) - 1), min_size=1, max_size=20)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), some),
        st.tuples(st.just("get"), some),
        st.tuples(st.just("have"), some),
        st.tuples(st.just("sync"), st.none()),
        st.tuples(st.just("kill"), st.none()),
        st.tuples(st.just("pause"), st.sampled_from([0.001, 0.02, 1.0])),
    ),
    max_size=25,
)


async def play(plan, lives, piece):
    store = Durable()
    put, synced = set(), set()
    async with trio.open_nursery() as nursery:
        there = FragileServing(nursery, store, [1 << 30, *lives], piece)
        client = await there.client(deadline_seconds=60)
        await there.cut()  # the first connection was for opening; the rest is fragile
        for what, argument in plan:
            try:
                if what == "put":
                    await client.put_many([BLOCKS[n] for n in argument])
                    put.update(KEYS[n] for n in argument)
                elif what == "sync":
                    before = set(put)
                    await client.sync()
                    synced |= before
                    assert synced <= set(there.server.store.safe)
                elif what == "get":
                    got = await client.get_many([KEYS[n] for n in argument])
                    assert got == [BLOCKS[n].data for n in argument]
                elif what == "have":
                    here = await client.have_many([KEYS[n] for n in argument])
                    wanted = [KEYS[n] in put for n in argument]
                    assert all(h or not w for h, w in zip(here, wanted, strict=True))
                elif what == "kill":
                    await there.cut(down=True)
                    there.start(there.server.store.killed())
                else:
                    await trio.sleep(argument)
            except NoSuchBlock:
                assert {KEYS[n] for n in argument} - put
            except Unreachable:
                assert there.lives  # as long as connections are short, nothing else is promised
            assert synced <= set(there.server.store.safe)
        await client.sync()
        assert put <= set(there.server.store.safe)
        assert not client._unsynced
        try:
            await client.aclose()
        except SpawngridError as error:
            raise AssertionError from error
        nursery.cancel_scope.cancel()


@settings(max_examples=60, deadline=None)
@given(
    steps,
    st.lists(st.integers(0, 30_000), max_size=12),
    st.sampled_from([1, 7, 1000, 1 << 20]),
)
def test_nothing_that_was_synced_is_lost(plan, lives, piece):
    trio.run(play, plan, lives, piece, clock=trio.testing.MockClock(autojump_threshold=0))
