"""One client of a server: requests in, answers out as they finish, within its share of memory.

Three kinds of task: one reads, one writes, and one for each request that may wait. Reads from a
store that lends its blocks need no task of their own. Its room holds the bytes of requests under way
and of replies not sent; a reply's room is taken before its blocks are read.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import trio

from lib9.errors import RemoteProtocolError, SpawngridError
from venti_store import faults, wire
from venti_store.answers import Admit, Answers
from venti_store.interfaces import BlockStore, Key
from venti_store.kind import BLOCK_SIZE_MAX
from venti_store.outbox import Outbox
from venti_store.protocol import Connection, Malformed, Received, Role, State
from venti_store.room import Pool, Room
from venti_store.score import Buffer
from venti_store.wire import versions_of

RECEIVE_SIZE: Final = 256 << 10
BLOCKS_AT_ONCE: Final = 8  # read from the store for one part of a reply
FRAME_BYTES: Final = 64  # what a frame takes in memory besides its bytes
SMALL_REPLY_BYTES: Final = 2048  # more than any error has
KEY_BYTES: Final = 200  # what a key takes in memory

log = logging.getLogger("venti")

Job = Callable[[int, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a server; each has its reason in docs/how-to/serve.md."""

    memory_bytes_max: int = 1 << 30  # 240 clients, if each does its worst
    hello_seconds_max: float = 30.0  # until a client has said what it speaks
    idle_seconds_max: float = 3600.0  # without a request
    stalled_seconds_max: float = 60.0  # without taking any of its replies
    drain_seconds_max: float = 10.0  # for what is under way when the server ends


class Host(Protocol):
    """What a conversation needs of its server."""

    store: BlockStore
    limits: Limits
    pool: Pool
    admit_name: Admit | None


class Conversation:
    """What goes on with one client."""

    def __init__(self, server: Host, stream: trio.abc.Stream, *, read_only: bool, who: str) -> None:
        self._server = server
        self._stream = stream
        self._who = who
        self._connection = Connection(Role.SERVER, versions_of(server.store.family))
        self._read_only = read_only
        self._answers: Answers | None = None
        self.room = Room(server.pool)
        self._out = Outbox(on_sent=self._sent)
        self._writes: set[trio.Event] = set()
        self._reading = trio.CancelScope()
        self._waiting: set[trio.CancelScope] = set()  # requests for what the log does not have yet
        self._draining = False

    def drain(self) -> None:
        """Read no more; what was asked is still answered, but nothing new waited for."""
        self._reading.cancel()
        self._draining = True
        for scope in self._waiting:
            scope.cancel()

    async def run(self) -> None:
        """Serve until it ends; logs why, raises nothing."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_out)
                async with trio.open_nursery() as requests:
                    with self._reading:
                        await self._read_in(requests)
                self._out.finish()
        except BaseExceptionGroup as group:
            self._log_end(group)

    def _log_end(self, group: BaseExceptionGroup[BaseException]) -> None:
        expected = (RemoteProtocolError, trio.BrokenResourceError, trio.TooSlowError)
        known, others = group.split(expected)
        first: BaseException | None = known
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        if isinstance(first, RemoteProtocolError):
            log.warning("%s: %s", self._who, first)
        elif first is not None:
            log.info("%s: %s", self._who, first or "too slow")
        if others is not None:
            cancelled, unknown = others.split(trio.Cancelled)
            if unknown is not None:
                log.error("%s: conversation ended by a fault of ours", self._who, exc_info=unknown)
            if cancelled is not None:
                raise cancelled

    # reading

    async def _read_in(self, requests: trio.Nursery) -> None:
        connection = self._connection
        self._send(connection.line())
        with trio.fail_after(self._server.limits.hello_seconds_max):
            while connection.state in (State.LINE, State.HELLO):
                if not await self._receive(requests):
                    return
        while connection.state is State.OPEN and await self._receive(requests):
            pass

    async def _receive(self, requests: trio.Nursery) -> bool:
        """Take what the client sends next; False when it has ended."""
        with trio.move_on_after(self._server.limits.idle_seconds_max) as idle:
            data = await self._stream.receive_some(RECEIVE_SIZE)
        if idle.cancelled_caught:
            log.info("%s: idle", self._who)
            return self._connection.requests_open > 0
        if not data:
            return False
        self._connection.feed(data)
        for event in self._connection.events():
            await self._accept(event, requests)
        return True

    async def _accept(self, event: Received | Malformed, requests: trio.Nursery) -> None:
        """Answer one request, or start a task that does; first there must be room for it."""
        # small replies are made at once: who takes none of them is not read from either
        await self.room.take(SMALL_REPLY_BYTES)
        self.room.let_go(SMALL_REPLY_BYTES)
        if isinstance(event, Malformed):
            self._send(self._connection.refuse(event))
            return
        tag, message = event.tag, event.message
        match message:
            case wire.Hello():
                self._answers = Answers(
                    self._server.store,
                    self._connection.version,
                    read_only=self._read_only,
                    admit=self._server.admit_name,
                )
                self._reply(tag, wire.Welcome())
            case wire.Ping():
                self._reply(tag, wire.Pong())
            case wire.Read():
                size = self._connection.version.block_size_max
                await self.room.take(size)
                if self.answers.lender is not None:
                    self._lend(tag, message, size)
                else:
                    requests.start_soon(self._carry_out, tag, message, size, self._read)
            case wire.ReadMany():
                requests.start_soon(self._carry_out, tag, message, 0, self._read_many)
            case wire.ReadLog():
                requests.start_soon(self._carry_out, tag, message, 0, self._read_log)
            case wire.Sync():
                sync = partial(self._sync, tuple(self._writes))
                requests.start_soon(self._carry_out, tag, message, 0, sync)
            case wire.WriteMany() | wire.Write() | wire.HaveMany() | wire.AppendName():
                size = _size(message)
                await self.room.take(size)
                written = trio.Event()
                self._writes.add(written)
                write = partial(self._write, written)
                requests.start_soon(self._carry_out, tag, message, size, write)
            case wire.GetStatistics():
                requests.start_soon(self._carry_out, tag, message, 0, self._other)

    # answering: each job sends its replies, or raises what the error reply says

    @property
    def answers(self) -> Answers:
        assert self._answers is not None, "nothing is asked before the hello"
        return self._answers

    async def _carry_out(self, tag: int, message: wire.Request, held: int, job: Job) -> None:
        """Do `job`; what goes wrong is its answer. `held` bytes are let go of at the end."""
        try:
            await job(tag, message)
        except SpawngridError as error:
            self._reply(tag, self.answers.error(error, message))
        except Exception as error:
            # a fault of ours may not end the others' requests, and is told to who asked
            log.exception("%s: %s failed", self._who, type(message).__name__)
            self._reply(tag, wire.Error(f"internal error: {error!r}"[:500]))
        finally:
            self.room.let_go(held)

    def _lend(self, tag: int, message: wire.Read, held: int) -> None:
        """Answer a classic read at once, from a store that lends its blocks."""
        lender = self.answers.lender
        assert lender is not None
        try:
            with lender.views([Key(message.score, message.kind)]) as blocks:
                self._reply(tag, _read_reply(message, blocks[0]))
        except SpawngridError as error:
            self._reply(tag, self.answers.error(error, message))
        finally:
            self.room.let_go(held)

    async def _read(self, tag: int, message: wire.Read) -> None:
        [block] = await self.answers.store.get_many([Key(message.score, message.kind)])
        self._reply(tag, _read_reply(message, block))

    async def _read_many(self, tag: int, message: wire.ReadMany) -> None:
        keys = message.keys
        if not keys:
            self._reply(tag, wire.Blocks(0, ()))
        limit = self._connection.version.block_size_max
        start = 0
        while start < len(keys):
            await trio.lowlevel.checkpoint()  # others have requests too
            count = BLOCKS_AT_ONCE
            while count > 1 and not self.room.fits(count * limit):
                count //= 2
            part = keys[start : start + count]
            start += len(part)
            held = len(part) * limit
            await self.room.take(held)
            try:
                await self._send_blocks(tag, part, more=start < len(keys))
            finally:
                self.room.let_go(held)

    async def _send_blocks(self, tag: int, keys: Sequence[Key], *, more: bool) -> None:
        lender = self.answers.lender
        if lender is None:
            self._reply_blocks(tag, await self.answers.store.get_many(keys), more=more)
            return
        with lender.views(keys) as blocks:
            self._reply_blocks(tag, blocks, more=more)

    def _reply_blocks(self, tag: int, blocks: Sequence[Buffer], *, more: bool) -> None:
        start = size = 0
        for index, block in enumerate(blocks):
            if start < index and size + len(block) > BLOCK_SIZE_MAX:
                self._reply(tag, wire.Blocks(1, tuple(blocks[start:index])))
                start, size = index, 0
            size += len(block)
        self._reply(tag, wire.Blocks(int(more), tuple(blocks[start:])))

    async def _read_log(self, tag: int, message: wire.ReadLog) -> None:
        waiting = trio.CancelScope()
        self._waiting.add(waiting)
        try:
            if self._draining:
                waiting.cancel()
            replies = await self.answers.log(message, waiting)
        finally:
            self._waiting.discard(waiting)
        for reply in replies:
            await self.room.take(BLOCK_SIZE_MAX)
            try:
                self._reply(tag, reply)
            finally:
                self.room.let_go(BLOCK_SIZE_MAX)
            await trio.lowlevel.checkpoint()

    async def _write(self, written: trio.Event, tag: int, message: wire.Request) -> None:
        try:
            await self._other(tag, message)
        finally:
            self._writes.discard(written)
            written.set()

    async def _sync(self, before: Sequence[trio.Event], tag: int, message: wire.Request) -> None:
        # each of them has been answered by then: with its score, or with why it failed
        for written in before:
            await written.wait()
        await self._other(tag, message)

    async def _other(self, tag: int, message: wire.Request) -> None:
        self._reply(tag, await self.answers.other(message))

    # writing, and room

    def _reply(self, tag: int, message: wire.Reply) -> None:
        self._send(self._connection.reply(tag, message))

    def _send(self, data: bytes) -> None:
        self.room.add(len(data) + FRAME_BYTES)
        self._out.put(data)

    def _sent(self, size: int, frames: int) -> None:
        self.room.let_go(size + frames * FRAME_BYTES)

    async def _send_out(self) -> None:
        seconds_max = self._server.limits.stalled_seconds_max
        await self._out.send_to(self._stream, seconds_max=seconds_max)


def _read_reply(message: wire.Read, block: Buffer) -> wire.Reply:
    if len(block) > message.size_max:
        return faults.too_small(message.size_max, len(block))
    return wire.ReadDone(block)


def _size(message: wire.Request) -> int:
    match message:
        case wire.Write() | wire.AppendName():
            return len(message.data)
        case wire.WriteMany():
            return sum(len(block.data) for block in message.blocks)
        case wire.HaveMany():
            return len(message.keys) * KEY_BYTES
        case _:
            return 0
