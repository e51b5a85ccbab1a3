"""Reading: by key through the index, or in the order of the log. Everything is verified.

A read transaction pins the pages it sees, so each lasts for one batch and never across an await.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

import lmdb

from venti_store.codec import RAW, ZSTD, BadRecord, Header, read_header, verified
from venti_store.errors import CorruptBlock, HashMismatch, NoSuchBlock
from venti_store.interfaces import Key, LogRecord
from venti_store.kind import Kind
from venti_store.score import Buffer, Score
from venti_store.stores.halves import map_halves
from venti_store.stores.lmdb.environment import KIND_BYTE, NUMBER, Environment, store_errors
from venti_store.stores.lmdb.verified import Verified
from venti_store.stores.messages import corrupt_block, no_such_block

LOG_BATCH_BYTES = 4 << 20  # records copied by `log` in one read transaction

ENTRY_BATCH = 1024  # headers read by `entries` in one

Pending = Callable[[bytes], bytes | None]  # index key → record not committed yet


class Found(NamedTuple):
    """A record as it lies in the store. Number 0: not committed yet. `header` None: nothing, b""."""

    key: Key
    number: int
    record: Buffer
    header: Header | None


class LogEntry(NamedTuple):
    """What a log record says of itself. `stored` is its bytes in the log, header and all."""

    number: int
    kind: Kind | None
    score: Score
    size: int
    stored: int


class Reader:
    """Reads one environment, and the records its writer has not committed yet."""

    def __init__(self, environment: Environment, good: Verified, pending: Pending) -> None:
        self._environment = environment
        self._family = environment.family
        self._good = good
        self._pending = pending

    def have_many(self, keys: Sequence[Key]) -> list[bool]:
        e = self._environment
        e.check_process()
        index_keys = [None if self._is_nothing(key) else index_key(key) for key in keys]
        # pending before the transaction begins: what is committed in between is seen by one of them
        known = [key is None or self._pending(key) is not None for key in index_keys]
        with store_errors(e.path), e.env.begin(db=e.index) as txn:
            return [
                here or (key is not None and txn.get(key) is not None)
                for here, key in zip(known, index_keys, strict=True)
            ]

    def get_many(self, keys: Sequence[Key]) -> list[bytes]:
        with self._transaction(keys) as blocks:
            return [block if isinstance(block, bytes) else bytes(block) for block in blocks]

    @contextmanager
    def views(self, keys: Sequence[Key]) -> Iterator[Sequence[Buffer]]:
        with self._transaction(keys) as blocks:
            try:
                yield blocks
            finally:
                # who kept a view gets a ValueError, not a page of something else
                for block in blocks:
                    if isinstance(block, memoryview):
                        with suppress(BufferError):
                            block.release()

    def log(self, start: int) -> Iterator[LogRecord]:
        number = max(start, 1)
        while batch := self._log_batch(number):
            yield from batch
            number = batch[-1].number + 1

    def entries(self, start: int) -> Iterator[LogEntry]:
        number = max(start, 1)
        while batch := self._entry_batch(number):
            yield from batch
            number = batch[-1].number + 1

    def last_number(self) -> int:
        e = self._environment
        e.check_process()
        with store_errors(e.path), e.env.begin() as txn:
            return last_number(txn, e)

    @contextmanager
    def _transaction(self, keys: Sequence[Key]) -> Iterator[list[Buffer]]:
        e = self._environment
        e.check_process()
        wanted = [None if self._is_nothing(key) else index_key(key) for key in keys]
        waiting = [None if key is None else self._pending(key) for key in wanted]
        with store_errors(e.path), e.env.begin(buffers=True) as txn:
            found: list[Found] = []
            failure: NoSuchBlock | CorruptBlock | None = None
            for key, name, pending in zip(keys, wanted, waiting, strict=True):
                try:
                    found.append(self._find(txn, key, name, pending))
                except (NoSuchBlock, CorruptBlock) as error:
                    failure = (
                        error  # an earlier block may be bad as well: that is the first failure
                    )
                    break
            packed = sum(f.header.length for f in found if f.header and f.header.coding == ZSTD)
            blocks = map_halves(self._open, found, lambda f: len(f.record), packed)
            if failure is not None:
                raise failure
            yield blocks

    def _find(
        self,
        txn: "lmdb.Transaction[memoryview]",
        key: Key,
        name: bytes | None,
        pending: bytes | None,
    ) -> Found:
        if name is None:
            return Found(key, 0, b"", None)
        if pending is not None:
            return Found(key, 0, pending, read_header(pending))
        e = self._environment
        number = txn.get(name, db=e.index)
        if number is None:
            raise no_such_block(key.score, key.kind, e.path)
        found = NUMBER.unpack(number)[0]
        record = txn.get(number, db=e.log)
        try:
            return Found(key, found, record or b"", header_for(record, key.score, key.kind))
        except BadRecord as why:
            raise self.corrupt(key.score, key.kind, found, why) from why

    def _open(self, found: Found) -> Buffer:
        if found.header is None:
            return b""
        try:
            data = verified(found.record, found.header, self._family)
        except BadRecord as why:
            raise self.corrupt(found.key.score, found.key.kind, found.number, why) from why
        if found.number:
            self._good.add(found.number)
        return data

    def corrupt(self, score: bytes, kind: Kind | None, number: int, why: object) -> CorruptBlock:
        """Return the error for a bad record, and forget that it was ever good."""
        self._good.discard(number)
        return corrupt_block(score, kind, f"{self._environment.path}, log number {number}", why)

    def _is_nothing(self, key: Key) -> bool:
        if len(key.score) != self._family.size:
            raise HashMismatch(f"{key.score.hex()}: not a {self._family.name} score")
        return self._family.is_nothing(key.score)

    def _log_batch(self, start: int) -> list[LogRecord]:
        e = self._environment
        e.check_process()
        batch: list[LogRecord] = []
        size = 0
        with store_errors(e.path), e.env.begin(buffers=True) as txn:
            cursor = txn.cursor(e.log)
            more = cursor.set_range(NUMBER.pack(start))
            while more and size < LOG_BATCH_BYTES:
                number = NUMBER.unpack(cursor.key())[0]
                try:
                    batch.append(self._log_record(txn, number, cursor.value()))
                except CorruptBlock:
                    if not batch:
                        raise
                    break  # what comes before it is given first
                size += len(batch[-1].data)
                more = cursor.next()
        return batch

    def _entry_batch(self, start: int) -> list[LogEntry]:
        e = self._environment
        e.check_process()
        batch: list[LogEntry] = []
        with store_errors(e.path), e.env.begin(buffers=True) as txn:
            cursor = txn.cursor(e.log)
            more = cursor.set_range(NUMBER.pack(start))
            while more and len(batch) < ENTRY_BATCH:
                number, record = NUMBER.unpack(cursor.key())[0], cursor.value()
                try:
                    header = read_header(record)
                except BadRecord:
                    header = Header(None, RAW, 0, Score(b""))
                batch.append(
                    LogEntry(number, header.kind, header.score, header.length, len(record))
                )
                more = cursor.next()
        return batch

    def _log_record(
        self, txn: "lmdb.Transaction[memoryview]", number: int, record: Buffer
    ) -> LogRecord:
        e = self._environment
        try:
            header = read_header(record)
        except BadRecord as why:
            raise self.corrupt(b"", None, number, why) from why
        try:
            data = verified(record, header, self._family)
        except BadRecord as why:
            # a later copy may have taken its place
            newer = txn.get(header.score + KIND_BYTE[header.kind], db=e.index)
            newer_record = None if newer is None else txn.get(newer, db=e.log)
            if newer is None or NUMBER.unpack(newer)[0] == number:
                raise self.corrupt(header.score, header.kind, number, why) from why
            try:
                newer_header = header_for(newer_record, header.score, header.kind)
                data = verified(newer_record or b"", newer_header, self._family)
            except BadRecord:
                raise self.corrupt(header.score, header.kind, number, why) from why
        else:
            self._good.add(number)
        return LogRecord(number, header.kind, header.score, bytes(data))


def index_key(key: Key) -> bytes:
    """Return the key of a block in the index."""
    return key.score + KIND_BYTE[key.kind]


def header_for(record: Buffer | None, score: bytes, kind: Kind | None) -> Header:
    """Return the header of the record that should hold this block; BadRecord if it does not."""
    if record is None:
        raise BadRecord("the index names a record that is not there")
    header = read_header(record)
    if header.score != score or header.kind != kind:
        raise BadRecord("the index names the record of another block")
    return header


def last_number(
    txn: "lmdb.Transaction[bytes] | lmdb.Transaction[memoryview]", environment: Environment
) -> int:
    """Return the number of the last log entry, 0 if there is none."""
    cursor = txn.cursor(environment.log)
    return int(NUMBER.unpack(cursor.key())[0]) if cursor.last() else 0
