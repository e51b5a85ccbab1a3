"""The client store and the server together: the contract, lost connections, lying servers."""

import os

import pytest
import trio
import trio.testing

from lib9.errors import RemoteProtocolError
from lib9.framing import frame
from lib9.streams import Dial, listen
from tests.contracts.block_store import BlockStoreContract, blocks_of, keys_of
from tests.kit.serving import Serving, serving
from tests.venti_store.kit import edit, new_store
from venti_store import wire
from venti_store.errors import (
    CorruptBlock,
    HashMismatch,
    LogDiverged,
    NoSuchBlock,
    ReadOnly,
    StoreError,
    StoreFull,
    Unreachable,
)
from venti_store.interfaces import Key
from venti_store.kind import Kind
from venti_store.open import open_store
from venti_store.protocol import Connection, Role
from venti_store.score import BLAKE3, SHA1
from venti_store.stores.counting import CountingStore
from venti_store.stores.faulty import Faults, FaultyStore
from venti_store.stores.lmdb.environment import NUMBER
from venti_store.stores.memory import MemoryStore
from venti_store.stores.remote import RemoteStore


class TestRemoteOverMemoryStreams(BlockStoreContract):
    @pytest.fixture
    async def make_store(self, nursery):
        async def make(family):
            return await Serving(nursery, MemoryStore(family)).client(deadline_seconds=5)

        return make


class TestRemoteOverUnixSocket(BlockStoreContract):
    """The store behind lends nothing: the other way through the server."""

    @pytest.fixture
    async def make_store(self, nursery, tmp_path):
        async def make(family):
            address = Dial("unix", path=str(tmp_path / "venti"))
            server = Serving(nursery, CountingStore(MemoryStore(family))).server
            listeners = await listen(address)
            nursery.start_soon(trio.serve_listeners, server.converse, listeners)
            return await open_store(str(address))

        return make


@pytest.fixture(params=["04", "02"])
async def classic_only(request, monkeypatch):
    monkeypatch.setattr(wire, "versions_of", lambda family: (wire.VERSIONS[request.param],))
    monkeypatch.setattr("venti_store.conversation.versions_of", wire.versions_of)


class TestRemoteClassic(BlockStoreContract):
    @pytest.fixture(params=["sha1"])
    async def store(self, request, make_store):
        store = await make_store(SHA1)
        yield store
        await store.aclose()

    @pytest.fixture
    async def make_store(self, nursery, classic_only):
        async def make(family):
            return await Serving(nursery, MemoryStore(SHA1)).client(deadline_seconds=5)

        return make

    async def test_closing_twice_is_harmless(self, make_store):
        store = await make_store(SHA1)
        await store.put_many(blocks_of(SHA1, b"x"))
        await store.aclose()
        await store.aclose()


BLOCKS = blocks_of(BLAKE3, *(b"block %d " % n * 50 for n in range(200)))
KEYS = keys_of(BLOCKS)


class Forgetful(MemoryStore):
    """A store that keeps what was synced, and forgets the rest when it is killed."""

    def __init__(self):
        super().__init__()
        self.durable = {}

    async def sync(self):
        await trio.lowlevel.checkpoint()
        self.durable = dict(self.blocks)

    def killed(self):
        after = Forgetful()
        after.blocks = dict(self.durable)
        after.durable = dict(self.durable)
        after._log = list(self.durable)
        return after


async def test_a_server_killed_between_answer_and_sync_is_given_it_again(autojump_clock):
    store = Forgetful()
    async with serving(store) as there:
        client = await there.client()
        await client.put_many(BLOCKS[:100])
        await trio.testing.wait_all_tasks_blocked()
        assert len(store.blocks) == 100  # taken and answered, not synced
        await there.cut(down=True)
        store = store.killed()
        assert not store.blocks
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.sync)
            await trio.sleep(5)
            there.start(store)
        assert set(store.durable) == set(KEYS[:100])
        # nothing is kept that is not needed
        assert client._unsynced_bytes == 0
        assert not client._unsynced
        await client.aclose()


@pytest.mark.parametrize("cuts", range(6))
async def test_sync_returns_only_when_all_is_stored_whenever_the_connection_ends(
    autojump_clock, cuts
):
    store = Forgetful()
    async with serving(store) as there:
        client = await there.client()

        async def kill():
            nonlocal store
            for _ in range(cuts):
                await trio.sleep(0.2)
                await there.cut(down=True)
                store = store.killed()
                await trio.sleep(0.1)
                there.start(store)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill)
            for start in range(0, 200, 20):
                await client.put_many(BLOCKS[start : start + 20])
                await trio.sleep(0.05)
                if start % 60 == 0:
                    await client.sync()
                    assert set(KEYS[: start + 20]) <= set(store.durable)
            await client.sync()
        assert set(store.durable) == set(KEYS)
        await client.aclose()


async def test_names_are_given_again_too(autojump_clock):
    store = Forgetful()
    async with serving(store) as there:
        client = await there.client()
        assert await client.append_name(b"scorename=a") == 1
        await there.cut()
        store = store.killed()
        there.start(store)
        await client.sync()
        assert list(store.durable.values()) == [b"scorename=a"]
        await client.aclose()


async def test_reads_go_on_after_a_lost_connection(autojump_clock):
    store = MemoryStore()
    await store.put_many(BLOCKS)
    async with serving(store) as there:
        client = await there.client()
        await there.cut(down=True)
        async with trio.open_nursery() as nursery:

            async def read():
                assert await client.get_many(KEYS) == [b.data for b in BLOCKS]

            nursery.start_soon(read)
            await trio.sleep(10)
            there.start(store)
        await client.aclose()


async def test_the_deadline_is_kept_and_says_why(autojump_clock):
    async with serving(MemoryStore()) as there:
        client = await there.client(deadline_seconds=7)
        await there.cut(down=True)
        began = trio.current_time()
        with pytest.raises(Unreachable, match=r"there: no answer in 7 s \(down by intent\)"):
            await client.get_many(KEYS)
        assert trio.current_time() - began == pytest.approx(7)
        # back-off: not more than a few attempts a second
        assert there.connects < 15
        there.up = True
        with pytest.raises(NoSuchBlock):
            await client.get_many(KEYS)
        await client.aclose()


async def test_a_server_that_hangs_is_given_up(autojump_clock):
    async with serving(FaultyStore(MemoryStore(), Faults(delay_seconds=1000))) as there:
        client = await there.client(deadline_seconds=7)
        for call in (client.get_many, client.have_many):
            with pytest.raises(Unreachable, match="no answer in 7 s"):
                await call(KEYS)
        there.server.store.faults = Faults()
        assert await client.have_many(KEYS[:1]) == [False]
        await client.aclose()


async def test_nobody_there_is_told_at_once(autojump_clock):
    async with serving(MemoryStore()) as there:
        there.up = False
        with pytest.raises(Unreachable, match="there: down by intent"):
            await there.client()
        assert trio.current_time() == 0


@pytest.mark.parametrize(
    ("faults", "error"), [(Faults(sync_fails=1), StoreError), (Faults(bytes_max=10), StoreFull)]
)
async def test_what_the_server_could_not_store_is_raised_and_not_forgotten(faults, error):
    inner = MemoryStore()
    async with serving(FaultyStore(inner, faults)) as there:
        client = await there.client()

        async def put_and_sync():
            await client.put_many(BLOCKS[:3])
            await client.sync()

        for _ in range(2):
            with pytest.raises(error, match="by intent"):
                await put_and_sync()
        with pytest.raises(error, match="by intent"):
            await client.sync()
        there.server.store.faults = Faults()
        await client.sync()
        assert len(inner.blocks) == 3
        await client.aclose()


async def test_errors_keep_their_kind():
    faulty = FaultyStore(MemoryStore(), Faults(corrupt=1))
    async with serving(faulty) as there:
        client = await there.client()
        with pytest.raises(CorruptBlock, match=r"there: .*by intent"):
            await client.get_many(KEYS[:1])
        faulty.faults = Faults(unreachable=1)
        with pytest.raises(Unreachable, match="by intent"):
            await client.have_many(KEYS[:1])
        await client.aclose()
    async with serving(MemoryStore(), read_only=True) as there:
        client = await there.client()
        await client.put_many(BLOCKS[:1])
        with pytest.raises(ReadOnly):
            await client.sync()
        with pytest.raises(ReadOnly):
            await client.append_name(b"x")
        with pytest.raises(ReadOnly):
            await client.aclose()


async def test_another_hash_is_refused():
    async with serving(MemoryStore(SHA1)) as there:
        with pytest.raises(HashMismatch, match="there: its hash is sha1, not blake3"):
            await there.client(family=BLAKE3)


async def test_the_log_statistics_and_names():
    store = MemoryStore()
    async with serving(store) as there:
        client = await there.client()
        await client.put_many(BLOCKS)
        await client.sync()
        assert await client.append_name(b"scorename=a rootscore=x") == 201
        assert await client.append_name(b"scorename=a rootscore=x") == 201
        records = list(store.log())
        assert await client.read_log(1, 1000) == records
        assert await client.read_log(150, 10) == records[149:159]
        bare = await client.read_log(199, 10, contents=False)
        assert [r.data for r in bare] == [b"", b"", b"scorename=a rootscore=x"]
        assert [r.score for r in bare] == [r.score for r in records[198:]]
        assert await client.read_log(202, 10) == []
        assert await client.read_log(1, 0) == []
        found = await client.statistics()
        assert (found["id"], found["hash"], found["last"]) == ("memory", "blake3", "201")
        await client.aclose()


async def test_a_large_log_comes_in_parts():
    store = MemoryStore()
    blocks = blocks_of(BLAKE3, *(os.urandom(300_000) for _ in range(9)), os.urandom(1 << 20))
    await store.put_many(blocks)
    async with serving(store) as there:
        client = await there.client()
        assert [r.data for r in await client.read_log(1, 100)] == [b.data for b in blocks]
        assert await client.get_many(keys_of(blocks)) == [b.data for b in blocks]
        await client.aclose()


async def test_waiting_for_the_log(autojump_clock):
    store = MemoryStore()
    async with serving(store) as there:
        client = await there.client()
        began = trio.current_time()
        assert await client.read_log(1, 5, wait_seconds=40) == []
        assert trio.current_time() - began == pytest.approx(40, abs=1)
        async with trio.open_nursery() as nursery:

            async def read():
                assert len(await client.read_log(1, 5, wait_seconds=40)) == 1

            nursery.start_soon(read)
            await trio.sleep(3)
            await store.put_many(BLOCKS[:1])
        assert trio.current_time() - began < 45
        await client.aclose()


async def test_a_log_that_was_another_before(autojump_clock):
    store = MemoryStore()
    await store.put_many(BLOCKS[:5])
    async with serving(store) as there:
        client = await there.client()
        scores = [block.score for block in BLOCKS]
        assert [r.number for r in await client.read_log(4, 9, before=scores[2])] == [4, 5]
        assert await client.read_log(6, 9, before=scores[4]) == []
        assert len(await client.read_log(1, 9)) == 5
        for start, before in ((4, scores[3]), (7, scores[5]), (1, scores[0]), (99, scores[4])):
            with pytest.raises(LogDiverged, match=f"there: log number {start - 1} is another"):
                # it does not wait for what may never come
                await client.read_log(start, 9, before=before, wait_seconds=1000)
        assert trio.current_time() < 1
        await client.aclose()


async def test_entries_that_the_server_cannot_read(tmp_path):
    store = new_store(tmp_path)
    await store.put_many(BLOCKS[:4])
    await store.sync()
    number = NUMBER.pack
    edit(store, "log", number(2), None)  # gone
    edit(store, "log", number(3), b"rot")  # no header
    async with serving(store) as there:
        client = await there.client()
        for contents in (False, True):
            records = await client.read_log(1, 9, contents=contents)
            assert [r.number for r in records] == [1, 2, 3, 4]
            assert [r.damaged for r in records] == [False, True, True, False]
            assert records[0].data == (BLOCKS[0].data if contents else b"")
            assert records[0].size == len(BLOCKS[0].data)
        await client.aclose()
    await store.aclose()


async def test_a_server_that_leaves_out_log_entries():
    store = MemoryStore()
    await store.put_many(BLOCKS[:5])
    honest = store.log
    store.log = lambda start=1: (r for r in honest(start) if r.number != 3)
    async with serving(store) as there:
        client = await there.client()
        with pytest.raises(RemoteProtocolError, match="there: log entry 4 where 3 is due"):
            await client.read_log(1, 9)
        await client.aclose()


async def test_a_classic_server_has_no_log(classic_only):
    async with serving(MemoryStore(SHA1)) as there:
        client = await there.client()
        with pytest.raises(StoreError, match="classic venti has no log"):
            await client.read_log(1, 1)
        await client.aclose()


# servers that lie


class Liar:
    """A server that answers each request with what `answer` says, in frames."""

    def __init__(self, nursery, answer):
        self.nursery, self.answer = nursery, answer

    async def connect(self):
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self.talk, theirs)
        await trio.lowlevel.checkpoint()
        return ours

    async def talk(self, stream):
        connection = Connection(Role.SERVER, wire.versions_of(BLAKE3))
        try:
            await stream.send_all(connection.line())
            while data := await stream.receive_some():
                connection.feed(bytes(data))
                for event in connection.events():
                    if isinstance(event.message, wire.Hello):
                        await stream.send_all(connection.reply(event.tag, wire.Welcome()))
                    elif not isinstance(event.message, wire.Goodbye):
                        connection._close(event.tag)  # it does not care for its own rules
                        for data in self.answer(event):
                            await stream.send_all(data)
        except trio.BrokenResourceError:
            pass


def raw(tag, message):
    return frame(wire.pack(wire.VERSIONS["b1"], tag, message), prefix_size=4, body_size_max=1 << 24)


def wrong_bytes(event):
    yield raw(event.tag, wire.Blocks(0, (b"wrong",) * len(event.message.keys)))


def wrong_tag(event):
    yield raw(event.tag ^ 1, wire.Pong())


def wrong_length(event):
    yield b"\x7f\xff\xff\xff" + bytes(1000)


def too_many(event):
    while True:
        yield raw(event.tag, wire.Blocks(1, tuple(block.data for block in BLOCKS[:2])))


def endless_frame(event):
    yield (1 << 20).to_bytes(4, "big")
    while True:
        yield bytes(100_000)


def wrong_kind(event):
    yield raw(event.tag, wire.Statistics(()))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (wrong_bytes, CorruptBlock),
        (wrong_tag, RemoteProtocolError),
        (wrong_length, RemoteProtocolError),
        (too_many, RemoteProtocolError),
        (endless_frame, RemoteProtocolError),
        (wrong_kind, RemoteProtocolError),
    ],
)
async def test_a_lying_server_is_found_out(nursery, answer, error):
    liar = Liar(nursery, answer)
    store = await RemoteStore.open("liar", liar.connect)
    for _ in range(2):
        with trio.fail_after(10), pytest.raises(error):
            await store.get_many(KEYS[:2])
    await store.aclose()
    nursery.cancel_scope.cancel()


def wrong_scores(event):
    if isinstance(event.message, wire.WriteMany):
        yield raw(event.tag, wire.WriteManyDone((BLAKE3.nothing,) * len(event.message.blocks)))
    else:
        yield raw(event.tag, wire.SyncDone())


async def test_a_server_that_stored_something_else_is_found_out(nursery):
    store = await RemoteStore.open("liar", Liar(nursery, wrong_scores).connect)
    await store.put_many(BLOCKS[:2])
    with pytest.raises(RemoteProtocolError, match="another score"):
        await store.sync()
    await store._session.aclose()
    nursery.cancel_scope.cancel()


async def test_a_batch_with_a_missing_block_names_it():
    store = MemoryStore()
    await store.put_many(BLOCKS[:150])
    async with serving(store) as there:
        client = await there.client()
        with pytest.raises(NoSuchBlock, match=KEYS[150].score.hex()):
            await client.get_many(KEYS)
        assert await client.have_many(KEYS) == [True] * 150 + [False] * 50
        assert await client.get_many([KEYS[3], KEYS[3]]) == [BLOCKS[3].data] * 2
        assert await client.get_many([Key(BLAKE3.nothing, Kind.DATA)]) == [b""]
        await client.aclose()
