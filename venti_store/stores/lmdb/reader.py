"""Reading: by key through the index, or in the order of the log. Everything is verified.

A read transaction pins the pages it sees, so each lasts for one batch and never across an await.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

import lmdb

from venti_store.codec import (
    MISMATCH,
    RAW,
    ZSTD,
    BadRecord,
    Header,
    decompress,
    find_body,
    read_header,
    verified,
)
from venti_store.errors import CorruptBlock, HashMismatch, NoSuchBlock
from venti_store.interfaces import Key, LogEntry, LogRecord
from venti_store.kind import Kind
from venti_store.score import Buffer, Score
from venti_store.stores.halves import map_halves
from venti_store.stores.lmdb.environment import (
    KIND_BYTE,
    NUMBER,
    Environment,
    store_error,
    store_errors,
)
from venti_store.stores.lmdb.verified import Verified
from venti_store.stores.messages import corrupt_block, corrupt_entry, no_such_block

LOG_BATCH_BYTES = 4 << 20  # records copied by `log` in one read transaction

ENTRY_BATCH = 1024  # headers read by `entries` in one

Pending = Callable[[bytes], bytes | None]  # index key → record not committed yet


class Packed(NamedTuple):
    """A compressed block that was found: where it goes in the answer, and where it lies."""

    position: int
    number: int  # in the log; 0: not committed yet
    key: Key
    length: int
    body: memoryview


class Reader:
    """Reads one environment, and the records its writer has not committed yet."""

    def __init__(self, environment: Environment, good: Verified, pending: Pending) -> None:
        self._environment = environment
        self._family = environment.family
        self._good = good
        self._pending = pending

    def have_many(self, keys: Sequence[Key]) -> list[bool]:
        e = self._environment
        wanted = self._wanted(keys)
        with store_errors(e.path), e.env.begin(db=e.index) as txn:
            return [
                name is None or pending is not None or txn.get(name) is not None
                for name, pending in wanted
            ]

    def get_many(self, keys: Sequence[Key]) -> list[bytes]:
        e = self._environment
        wanted = self._wanted(keys)
        try:
            with e.env.begin(buffers=True) as txn:
                blocks = self._blocks(txn, keys, wanted)
                return [b if isinstance(b, bytes) else bytes(b) for b in blocks]
        except lmdb.Error as error:
            raise store_error(e.path, error) from error

    @contextmanager
    def views(self, keys: Sequence[Key]) -> Iterator[Sequence[Buffer]]:
        e = self._environment
        wanted = self._wanted(keys)
        with store_errors(e.path), e.env.begin(buffers=True) as txn:
            blocks = self._blocks(txn, keys, wanted)
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

    def names(self, start: int) -> Iterator[LogRecord]:
        number = max(start, 1)
        while batch := self._name_batch(number):
            yield from batch
            number = batch[-1].number + 1

    def last_number(self) -> int:
        e = self._environment
        e.check_process()
        with store_errors(e.path), e.env.begin() as txn:
            return last_number(txn, e)

    def _wanted(self, keys: Sequence[Key]) -> list[tuple[bytes | None, bytes | None]]:
        """Return of each key its name in the index (None: nothing) and its record if it is pending.

        To be called before the transaction begins: what is committed between is seen by one of them.
        """
        self._environment.check_process()
        size, nothing = self._family.size, self._family.nothing
        wanted: list[tuple[bytes | None, bytes | None]] = []
        for score, kind in keys:
            if len(score) != size:
                raise HashMismatch(f"{score.hex()}: not a {self._family.name} score")
            if score == nothing or not any(score):
                wanted.append((None, None))
            else:
                name = score + KIND_BYTE[kind]
                wanted.append((name, self._pending(name)))
        return wanted

    def _blocks(
        self,
        txn: "lmdb.Transaction[memoryview]",
        keys: Sequence[Key],
        wanted: Sequence[tuple[bytes | None, bytes | None]],
    ) -> list[Buffer]:
        """Return the verified blocks: raw ones as they lie in the map, valid as long as `txn`."""
        digest, good = self._family.digest, self._good
        blocks: list[Buffer] = []
        packed: list[Packed] = []
        failure: NoSuchBlock | CorruptBlock | None = None
        for key, (name, pending) in zip(keys, wanted, strict=True):
            if name is None:
                blocks.append(b"")
                continue
            number = 0
            try:
                number, record = (0, pending) if pending else self._record(txn, key, name)
                coding, length, body = find_body(record, key.score, key.kind)
                if coding == ZSTD:
                    packed.append(Packed(len(blocks), number, key, length, body))
                elif digest(body) != key.score:
                    raise self.corrupt(key.score, key.kind, number, MISMATCH)
                else:
                    good.add(number)
                blocks.append(body)
            except BadRecord as why:
                failure = self.corrupt(key.score, key.kind, number, why)
                break
            except (NoSuchBlock, CorruptBlock) as error:
                failure = error
                break
        size = sum(p.length for p in packed)
        opened = map_halves(self._unpack, packed, lambda p: p.length, size)
        if failure is not None:
            raise failure  # not before the compressed blocks ahead of it turned out to be good
        for place, data in zip(packed, opened, strict=True):
            blocks[place.position] = data
        return blocks

    def _record(
        self, txn: "lmdb.Transaction[memoryview]", key: Key, name: bytes
    ) -> tuple[int, memoryview]:
        e = self._environment
        place = txn.get(name, db=e.index)
        if place is None:
            raise no_such_block(key.score, key.kind, e.path)
        number: int = NUMBER.unpack(place)[0]
        record = txn.get(place, db=e.log)
        if record is None:
            raise self.corrupt(key.score, key.kind, number, "the index names a record not there")
        return number, record

    def _unpack(self, found: Packed) -> bytes:
        score, kind = found.key
        try:
            data = decompress(found.body, found.length)
        except BadRecord as why:
            raise self.corrupt(score, kind, found.number, why) from why
        if self._family.digest(data) != score:
            raise self.corrupt(score, kind, found.number, MISMATCH)
        self._good.add(found.number)
        return data

    def corrupt(self, score: bytes, kind: Kind | None, number: int, why: object) -> CorruptBlock:
        """Return the error for a bad record, and forget that it was ever good."""
        self._good.discard(number)
        return corrupt_block(score, kind, f"{self._environment.path}, log number {number}", why)

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
                if number != start + len(batch):
                    if not batch:
                        raise corrupt_entry(start, e.path, "it is missing")
                    break
                try:
                    batch.append(self._log_record(txn, number, cursor.value()))
                except CorruptBlock:
                    if not batch:
                        raise
                    break  # what comes before it is given first
                size += len(batch[-1].data)
                more = cursor.next()
        return batch

    def _name_batch(self, start: int) -> list[LogRecord]:
        e = self._environment
        e.check_process()
        batch: list[LogRecord] = []
        with store_errors(e.path), e.env.begin(buffers=True) as txn:
            cursor = txn.cursor(e.names)
            more = cursor.set_range(NUMBER.pack(start))
            while more and len(batch) < ENTRY_BATCH:
                number = NUMBER.unpack(cursor.key())[0]
                record = txn.get(cursor.key(), db=e.log)
                try:
                    if record is None:
                        raise corrupt_entry(number, e.path, "it is missing")
                    batch.append(self._log_record(txn, number, record))
                except CorruptBlock:
                    if not batch:
                        raise
                    break  # what comes before it is given first
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
            raise corrupt_entry(number, e.path, why) from why
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
        return LogRecord(number, header.kind, header.score, bytes(data), len(data))


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
