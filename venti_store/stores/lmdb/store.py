"""The store itself: readers inline, one writer thread, and nothing kept open between calls."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial

from lib9.waiting import in_thread, in_trio
from venti_store.codec import encode
from venti_store.interfaces import Block, Key, LogEntry, LogRecord
from venti_store.score import Buffer, Family, Score
from venti_store.stores.accept import acceptable, acceptable_name
from venti_store.stores.halves import map_halves
from venti_store.stores.heap import keep_freed_memory
from venti_store.stores.lmdb.append import Item, find_good
from venti_store.stores.lmdb.environment import (
    KIND_BYTE,
    NUMBER,
    acquire,
    release,
    store_errors,
)
from venti_store.stores.lmdb.growth import Growth
from venti_store.stores.lmdb.reader import Reader
from venti_store.stores.lmdb.statistics import Statistics, statistics
from venti_store.stores.lmdb.verified import Verified
from venti_store.stores.lmdb.writer import QUEUE_BYTES_MAX, RESERVE_BYTES, Writer

LOOP_BYTES_MAX = 128 << 10  # compressed within the event loop; larger puts go to a thread


class LmdbStore:
    """A BlockStore, BlockViews and LogReader on a local disk; see docs/reference/formats/store.md.

    May be used from several threads, and by several processes side by side. Opening raises
    StoreMissing, StoreError or HashMismatch.
    """

    at_once = True

    def __init__(
        self,
        path: str,
        *,
        family: Family | None = None,
        reserve_bytes: int = RESERVE_BYTES,
        queue_bytes_max: int = QUEUE_BYTES_MAX,
    ) -> None:
        self.environment = acquire(path, family)
        keep_freed_memory()
        self.path = path
        self.family = self.environment.family
        self.store_id = self.environment.store_id
        self.good = Verified()
        self._writer = Writer(
            self.environment,
            self.good,
            reserve_bytes=reserve_bytes,
            queue_bytes_max=queue_bytes_max,
        )
        self._reader = Reader(self.environment, self.good, self._writer.pending_record)
        self._growth: Growth | None = None
        self._closed = False

    async def get_many(self, keys: Sequence[Key]) -> list[bytes]:
        return self._reader.get_many(keys)

    async def have_many(self, keys: Sequence[Key]) -> list[bool]:
        here = self._reader.have_many(keys)
        if any(here):
            self._writer.note_known()
        return here

    def views(self, keys: Sequence[Key]) -> AbstractContextManager[Sequence[Buffer]]:
        return self._reader.views(keys)

    def log(self, start: int = 1) -> Iterator[LogRecord]:
        """Give the entries from number `start` on; CorruptBlock for one that has no good copy.

        No transaction is held between entries.
        """
        return self._reader.log(start)

    def last_number(self) -> int:
        """Return the number of the last log entry committed, 0 when there is none."""
        return self._reader.last_number()

    def entries(self, start: int = 1) -> Iterator[LogEntry]:
        """Give what the log's records say of themselves, without reading or verifying blocks."""
        return self._reader.entries(start)

    def names(self, start: int = 1) -> Iterator[LogRecord]:
        """Give the name records from number `start` on; CorruptBlock as `log`."""
        return self._reader.names(start)

    def statistics(self) -> Statistics:
        """Return what the store holds; costs nothing that grows with it."""
        return statistics(self.environment)

    async def put_many(self, blocks: Sequence[Block]) -> None:
        taken = acceptable(blocks, self.family)
        if in_trio() and sum(len(block.data) for block in taken) > LOOP_BYTES_MAX:
            await in_thread(lambda: self._writer.put(self._prepare(taken)))
            return
        items = self._prepare(taken)
        if not self._writer.offer(items):
            await in_thread(partial(self._writer.put, items))

    async def append_name(self, data: Buffer) -> int:
        """Append a name record behind all blocks put before, sync, and return its log number.

        A record that is there already keeps its number.
        """
        return (await self.append_names([data]))[0]

    async def append_names(self, records: Sequence[Buffer]) -> list[int]:
        """Append several in this order, as `append_name` does, with one sync; return their numbers."""
        items = [self._name_item(acceptable_name(data)) for data in records]
        await in_thread(partial(self._writer.put, items))
        await self.sync()
        e = self.environment
        with store_errors(e.path), e.env.begin(db=e.index) as txn:
            return [int(NUMBER.unpack(txn.get(item.name, b""))[0]) for item in items]

    async def have_names(self, scores: Sequence[Score]) -> list[bool]:
        """Tell of each score whether the log has the name record with it."""
        e = self.environment
        e.check_process()
        names = [score + KIND_BYTE[None] for score in scores]
        pending = [self._writer.pending_record(name) is not None for name in names]
        with store_errors(e.path), e.env.begin(db=e.index) as txn:
            return [p or txn.get(n) is not None for p, n in zip(pending, names, strict=True)]

    async def wait_log(self, number: int) -> None:
        """Return when the log has an entry `number`, whoever appends it; within trio only."""
        if self._growth is None:
            self._growth = Growth(self.path)
        while self.last_number() < number:
            await self._growth.wait()

    async def sync(self) -> None:
        self.environment.check_process()
        await in_thread(self._writer.sync)

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self.sync()
        finally:
            if self._growth is not None:
                self._growth.close()
            await in_thread(self._writer.close)
            release(self.environment)

    def _name_item(self, record: bytes) -> Item:
        score = self.family.score(record)
        return Item(score + KIND_BYTE[None], encode(None, score, record), len(record))

    def _prepare(self, blocks: Sequence[Block]) -> list[Item]:
        """Return the records to append: of blocks that are not here in a good copy."""
        e = self.environment
        e.check_process()
        new: dict[bytes, tuple[Block, int]] = {}
        with store_errors(e.path), e.env.begin(buffers=True) as txn:
            for block in blocks:
                kind_byte = KIND_BYTE[block.kind]
                name = block.score + kind_byte
                here = name in new or name in self._writer.pending
                bad = 0
                if not here:
                    here, bad = find_good(txn, e, name, self.good)
                if here:
                    self._writer.count_again(kind_byte, len(block.data))
                else:
                    new[name] = (block, bad)
        size = sum(len(block.data) for block, _ in new.values())
        records = map_halves(_encode, list(new.values()), lambda pair: len(pair[0].data), size)
        return [
            Item(name, record, len(block.data), bad)
            for (name, (block, bad)), record in zip(new.items(), records, strict=True)
        ]


def _encode(pair: tuple[Block, int]) -> bytes:
    block = pair[0]
    return encode(block.kind, block.score, block.data)
