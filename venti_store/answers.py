"""What a server answers to each request, given a store: no stream, no tag, no limits.

Stores on this machine lend their blocks as they lie in memory (`BlockViews`): a reply is then made
with one copy and without waiting.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol, runtime_checkable

import trio

from lib9.errors import SpawngridError
from venti_store import faults, wire
from venti_store.errors import BlockTooLarge, ReadOnly, StoreError
from venti_store.interfaces import Block, BlockStore, Key, LogRecord
from venti_store.listing import Log, check_before, listed
from venti_store.score import Buffer, Score
from venti_store.wire import Version

LOG_FRAME_BYTES: Final = 512 << 10  # of records in one reply, or one larger record
_ENTRY_BYTES: Final = 49  # what an entry takes besides its bytes


@runtime_checkable
class Lender(Protocol):
    """A store that is a BlockViews too."""

    def views(self, keys: Sequence[Key]) -> AbstractContextManager[Sequence[Buffer]]: ...


@runtime_checkable
class NameAppender(Protocol):
    """A store that keeps name records."""

    async def append_name(self, data: Buffer) -> int: ...


Admit = Callable[[bytes], Awaitable[None]]
"""Raises why a name record may not be appended."""


class Answers:
    """The meaning of requests in one version of the protocol."""

    def __init__(
        self, store: BlockStore, version: Version, *, read_only: bool, admit: Admit | None = None
    ) -> None:
        self.store = store
        self.version = version
        # asked once: what a store can do is a long question
        self.lender = store if isinstance(store, Lender) else None
        self._log = store if isinstance(store, Log) else None
        self._names = store if isinstance(store, NameAppender) else None
        self._read_only = read_only
        self._admit = admit

    def error(self, error: SpawngridError, message: wire.Request) -> wire.Error:
        """Return the reply for a request that failed."""
        if self.version.native:
            return faults.error_message(error)
        key = Key(message.score, message.kind) if isinstance(message, wire.Read) else None
        return faults.classic_error_message(error, key)

    async def other(self, message: wire.Request) -> wire.Reply:
        """Return the reply to what is not answered with blocks or log entries."""
        match message:
            case wire.Write():
                [score] = await self._put([message])
                return wire.WriteDone(score)
            case wire.WriteMany():
                return wire.WriteManyDone(await self._put(message.blocks))
            case wire.HaveMany():
                return wire.HaveManyDone(bytes(await self.store.have_many(message.keys)))
            case wire.AppendName():
                return wire.AppendNameDone(await self._append_name(message.data))
            case wire.GetStatistics():
                return wire.Statistics(self._statistics())
            case wire.Sync():
                await self.store.sync()
                return wire.SyncDone()
            case _:
                raise StoreError("unknown request")

    async def log(
        self, message: wire.ReadLog, waiting: trio.CancelScope
    ) -> Iterator[wire.LogEntries]:
        """Return the replies to a read of the log, of which there is at least one.

        Who cancels `waiting` ends the wait for new entries, and it is answered without them.
        """
        store = self._log
        if store is None:
            raise StoreError("this store has no log")
        check_before(store, message.start, message.before)
        if message.wait_ms:
            waiting.relative_deadline = min(message.wait_ms, wire.LOG_WAIT_MS_MAX) / 1000
            with waiting:
                await store.wait_log(message.start)
        return _log_replies(store, message)

    async def _put(self, new: Sequence[wire.Write | wire.NewBlock]) -> tuple[Score, ...]:
        if self._read_only:
            raise ReadOnly("read only")
        limit = self.version.block_size_max
        score = self.version.family.score
        blocks = []
        for kind, data in ((block.kind, block.data) for block in new):
            if len(data) > limit:
                raise BlockTooLarge(f"block of {len(data)} bytes, the limit is {limit}")
            blocks.append(Block(score(data), kind, data))
        await self.store.put_many(blocks)
        return tuple(block.score for block in blocks)

    async def _append_name(self, data: Buffer) -> int:
        if self._read_only:
            raise ReadOnly("read only")
        if self._names is None:
            raise StoreError("this store keeps no names")
        if self._admit is not None:
            await self._admit(bytes(data))
        return await self._names.append_name(data)

    def _statistics(self) -> tuple[tuple[str, str], ...]:
        store = self.store
        last = 0 if self._log is None else self._log.last_number()
        found = {"id": getattr(store, "store_id", ""), "hash": store.family.name, "last": last}
        return tuple((name, str(value)) for name, value in found.items())


def _log_replies(store: Log, message: wire.ReadLog) -> Iterator[wire.LogEntries]:
    """Give the entries in parts; `more` is set when the entry after a part has been seen."""
    records: list[LogRecord] = []
    size = 0
    for record in listed(store, message.start, message.count, contents=bool(message.contents)):
        if records and size + len(record.data) > LOG_FRAME_BYTES:
            yield wire.LogEntries(1, tuple(records))
            records, size = [], 0
        records.append(record)
        size += _ENTRY_BYTES + len(record.data)
    yield wire.LogEntries(0, tuple(records))
