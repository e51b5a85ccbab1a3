"""What a peer can make its follower hold, whatever it says of its own log."""

import tracemalloc

import pytest
import trio
import trio.testing

from lib9.errors import RemoteProtocolError, single_error
from replicator.ends import RemoteLog
from replicator.fetching import ELSEWHERE_AT_ONCE
from replicator.follower import FETCHED_BYTES_MAX, FETCHES_MAX
from tests.replicator.kit import follow
from venti_store import wire
from venti_store.errors import NoSuchBlock
from venti_store.faults import error_message
from venti_store.interfaces import LogRecord
from venti_store.kind import BLOCK_SIZE_MAX, Kind
from venti_store.protocol import Connection, Role
from venti_store.score import BLAKE3, Score
from venti_store.stores.memory import MemoryStore
from venti_store.stores.remote import RemoteStore

ENTRIES = 600  # of 1 MiB each
TAIL = b"x" * (BLOCK_SIZE_MAX - 8)
DATA = {BLAKE3.score(n.to_bytes(8, "big") + TAIL): n for n in range(ENTRIES)}
ENOUGH_BYTES = 2 * FETCHED_BYTES_MAX  # then whoever is lied to has not noticed


def block(score: Score) -> bytes:
    return DATA[score].to_bytes(8, "big") + TAIL


class Liar:
    """A server of large blocks, of which its log says that they have `told` bytes."""

    def __init__(self, told: int, *, lacks: bool = False) -> None:
        self.told, self.lacks = told, lacks
        self.sent = 0  # bytes of blocks
        self.ended = trio.Event()

    async def converse(self, stream) -> None:
        connection = Connection(Role.SERVER, wire.versions_of(BLAKE3))
        try:
            await stream.send_all(connection.line())
            while data := await stream.receive_some(1 << 16):
                connection.feed(data)
                for event in connection.events():
                    for reply in self.replies(event.message):
                        await stream.send_all(connection.reply(event.tag, reply))
        except trio.BrokenResourceError:
            pass
        finally:
            self.ended.set()

    def replies(self, message):
        match message:
            case wire.Hello():
                yield wire.Welcome()
            case wire.GetStatistics():
                yield wire.Statistics((("id", "liar"), ("last", str(ENTRIES))))
            case wire.ReadLog(start, _, count):
                numbers = range(start, min(start + count, ENTRIES + 1))
                scores = list(DATA)
                yield wire.LogEntries(
                    0,
                    tuple(LogRecord(n, Kind.DATA, scores[n - 1], b"", self.told) for n in numbers),
                )
            case wire.ReadMany() if self.lacks or self.sent > ENOUGH_BYTES:
                yield error_message(NoSuchBlock("not here by intent"))
            case wire.ReadMany(keys):
                for at, key in enumerate(keys, 1):
                    self.sent += BLOCK_SIZE_MAX
                    yield wire.Blocks(int(at < len(keys)), (block(key.score),))


async def connected(liar, nursery) -> RemoteStore:
    async def connect():
        ask, asked = trio.testing.memory_stream_one_way_pair()
        answer, answered = trio.testing.lockstep_stream_one_way_pair()  # what was sent is here
        nursery.start_soon(liar.converse, trio.StapledStream(answer, asked))
        return trio.StapledStream(ask, answered)

    return await RemoteStore.open("liar", connect)


async def lied_to(liar, **options) -> str:
    """Follow the liar; return how that ended."""
    with pytest.raises(BaseExceptionGroup) as raised:
        async with trio.open_nursery() as nursery:
            remote = await connected(liar, nursery)
            await follow(RemoteLog(remote), MemoryStore(), **options)
    error = single_error(raised.value)
    assert isinstance(error, RemoteProtocolError)
    return str(error)


async def test_blocks_larger_than_the_log_said_end_the_connection_at_once():
    liar = Liar(told=1)
    tracemalloc.start()
    try:
        why = await lied_to(liar)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert why == f"liar: a block of {BLOCK_SIZE_MAX} bytes where at most 1 were asked for"
    await liar.ended.wait()  # it was hung up on
    assert liar.sent <= 2 * BLOCK_SIZE_MAX
    assert most < FETCHED_BYTES_MAX  # of the follower and the liar together


async def test_a_log_whose_sizes_are_impossible_is_not_believed():
    why = await lied_to(Liar(told=BLOCK_SIZE_MAX + 1))
    assert why == "liar: log entry 1 says it has 1048577 bytes, the limit is 1048576"


async def test_what_other_peers_have_is_held_against_what_the_log_said():
    asked = []

    async def get_many(keys):
        asked.extend(keys)
        return [block(key.score) for key in keys]

    why = await lied_to(Liar(told=1, lacks=True), others=[get_many])
    assert why.endswith(f": a block of {BLOCK_SIZE_MAX} bytes where the log says 1")
    assert len(asked) <= FETCHES_MAX * ELSEWHERE_AT_ONCE
