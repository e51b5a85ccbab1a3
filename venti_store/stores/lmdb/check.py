"""Scrubbing: every record against its score, the log without gaps, index and log both ways.

The log is read in batches, each in a transaction of its own, so writers and readers go on. If as
many records were found by their own index entry as there are entries, the index is whole; only
otherwise it is walked, to name what is wrong.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import lmdb

from venti_store.codec import BadRecord, read_header, verified
from venti_store.interfaces import Key
from venti_store.kind import Kind
from venti_store.score import Score, format_score
from venti_store.stores.halves import map_halves
from venti_store.stores.lmdb.environment import KIND_BYTE, NUMBER, Environment, store_errors
from venti_store.stores.lmdb.reader import header_for
from venti_store.stores.messages import kind_name

BATCH_BYTES = 4 << 20  # records looked at in one transaction
BATCH_RECORDS = 4096


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong. Number 0: not in the log; score empty: not known.

    `lost`: no good copy of this block is here. Else the index is wrong, and a rebuild mends it.
    """

    number: int
    kind: Kind | None
    score: Score
    why: str
    lost: bool

    def __str__(self) -> str:
        name = f"{format_score(self.score)} ({kind_name(self.kind)}): " if self.score else ""
        return f"{name}log number {self.number}: {self.why}"

    @property
    def key(self) -> Key | None:
        """What to ask another store for, to put it here again."""
        return None if self.kind is None or not self.score else Key(self.score, self.kind)


@dataclass(slots=True)
class Progress:
    """How far a scrub is: log numbers and stored bytes read, copies that were replaced by good ones."""

    number: int = 0
    last_number: int = 0
    size: int = 0
    replaced: int = 0
    mended: int = 0  # index entries set right


@dataclass(frozen=True, slots=True)
class _Record:
    number: int
    kind: Kind | None
    score: Score
    why: str | None  # None: it is good


class Scrub:
    """One run over an environment. With `rebuild`, index entries that are wrong are set right."""

    def __init__(
        self,
        environment: Environment,
        *,
        rebuild: bool = False,
        after_batch: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._e = environment
        self._rebuild = rebuild
        self._after_batch = after_batch
        self._own_entry = 0  # records that are found by their own index entry
        self._entries = 0  # in the index, when the end of the log was reached
        self.progress = Progress()

    def run(self) -> Iterator[Damage]:
        """Give what is wrong, in the order of the log. Raises StoreError if LMDB's file is damaged."""
        next_number = 1
        while True:
            records, gap = self._batch(next_number)
            if gap:
                why = f"missing, up to {gap - 1}" if gap - 1 > next_number else "missing"
                yield Damage(next_number, None, Score(b""), why, lost=True)
                next_number = gap
                continue
            if not records:
                break
            yield from self._judge(records)
            yield from self._judge_names(records)
            next_number = records[-1].number + 1
            self.progress.number = next_number - 1
            self._after_batch(self.progress)
        if self._own_entry != self._entries or self._rebuild:
            yield from self._walk_index()

    def _batch(self, start: int) -> tuple[list[_Record], int]:
        """Return the records from `start` on, or the number after a gap that begins there."""
        e, size = self._e, 0
        raw: list[tuple[int, memoryview]] = []
        e.check_process()
        with store_errors(e.path), e.env.begin(buffers=True) as txn:
            cursor = txn.cursor(e.log)
            if cursor.last():
                self.progress.last_number = NUMBER.unpack(cursor.key())[0]
            more = cursor.set_range(NUMBER.pack(start))
            while more and size < BATCH_BYTES and len(raw) < BATCH_RECORDS:
                number = NUMBER.unpack(cursor.key())[0]
                if number != start + len(raw):
                    if not raw:
                        return [], number
                    break
                raw.append((number, cursor.value()))
                size += len(raw[-1][1])
                more = cursor.next()
            self._entries = txn.stat(e.index)["entries"]
            self.progress.size += size
            return map_halves(self._look, raw, lambda pair: len(pair[1]), size), 0

    def _look(self, numbered: tuple[int, memoryview]) -> _Record:
        number, record = numbered
        try:
            header = read_header(record)
        except BadRecord as why:
            return _Record(number, None, Score(b""), str(why))
        try:
            verified(record, header, self._e.family)
        except BadRecord as why:
            return _Record(number, header.kind, header.score, str(why))
        return _Record(number, header.kind, header.score, None)

    def _judge(self, records: list[_Record]) -> list[Damage]:
        damages: list[Damage] = []
        mend: list[_Record] = []
        e = self._e
        with store_errors(e.path), e.env.begin(buffers=True) as txn:
            for record in records:
                if not record.score:
                    damages.append(
                        Damage(record.number, None, record.score, record.why or "", lost=True)
                    )
                    continue
                place = txn.get(record.score + KIND_BYTE[record.kind], db=e.index)
                at = 0 if place is None else NUMBER.unpack(place)[0]
                self._own_entry += at == record.number
                other_is_good = at not in (0, record.number) and self._is_good(txn, at, record)
                if record.why is None and at != record.number and not other_is_good:
                    mend.append(record)
                    why = "not in the index" if at == 0 else f"the index names {at}, which is bad"
                    damages.append(
                        Damage(record.number, record.kind, record.score, why, lost=False)
                    )
                elif record.why is not None and other_is_good:
                    self.progress.replaced += 1
                elif record.why is not None:
                    damages.append(
                        Damage(record.number, record.kind, record.score, record.why, lost=True)
                    )
        if self._rebuild and mend:
            self._mend(mend)
        return damages

    def _is_good(self, txn: "lmdb.Transaction[memoryview]", number: int, record: _Record) -> bool:
        found = txn.get(NUMBER.pack(number), db=self._e.log)
        with suppress(BadRecord):
            header = header_for(found, record.score, record.kind)
            verified(found or b"", header, self._e.family)
            return True
        return False

    def _mend(self, records: list[_Record]) -> None:
        e = self._e
        with store_errors(e.path), e.env.begin(write=True) as txn:
            for record in records:
                name = record.score + KIND_BYTE[record.kind]
                txn.put(name, NUMBER.pack(record.number), db=e.index)
        self.progress.mended += len(records)

    def _judge_names(self, records: list[_Record]) -> list[Damage]:
        """Name records must also be found without the blocks between them."""
        e = self._e
        names = [record for record in records if record.kind is None and record.score]
        with store_errors(e.path), e.env.begin(db=e.names) as txn:
            unlisted = [r for r in names if txn.get(NUMBER.pack(r.number)) is None]
        if self._rebuild and unlisted:
            with store_errors(e.path), e.env.begin(write=True, db=e.names) as txn:
                for record in unlisted:
                    txn.put(NUMBER.pack(record.number), b"")
            self.progress.mended += len(unlisted)
        why = "not in the table of names"
        return [Damage(r.number, None, r.score, why, lost=False) for r in unlisted]

    def _walk_index(self) -> Iterator[Damage]:
        """Give the index entries that name no record of theirs.

        A rebuild has by now set right what it could: what is left has no block, and is dropped.
        """
        after = b""
        while True:
            bad, after = self._index_batch(after)
            for name, number, why in bad:
                kind = Kind(name[-1]) if name[-1] in set(Kind) else None
                yield Damage(number, kind, Score(name[:-1]), why, lost=self._rebuild)
            if self._rebuild and bad:
                self._drop([name for name, _, _ in bad])
            if not after:
                return

    def _index_batch(self, after: bytes) -> tuple[list[tuple[bytes, int, str]], bytes]:
        e = self._e
        bad: list[tuple[bytes, int, str]] = []
        with store_errors(e.path), e.env.begin(buffers=True) as txn:
            cursor = txn.cursor(e.index)
            more = cursor.set_range(after) if after else cursor.first()
            for _ in range(BATCH_RECORDS):
                if not more:
                    return bad, b""
                name = bytes(cursor.key())
                number: int = NUMBER.unpack(cursor.value())[0]
                record = txn.get(cursor.value(), db=e.log)
                if record is None:
                    bad.append((name, number, "in the index, but not in the log"))
                else:
                    # a record too damaged to say whose it is was named by the scrub
                    with suppress(BadRecord):
                        header = read_header(record)
                        if header.score + KIND_BYTE[header.kind] != name:
                            bad.append(
                                (name, number, "the index names the record of another block")
                            )
                more = cursor.next()
            return bad, bytes(cursor.key()) if more else b""

    def _drop(self, names: list[bytes]) -> None:
        e = self._e
        with store_errors(e.path), e.env.begin(write=True) as txn:
            for name in names:
                txn.delete(name, db=e.index)
        self.progress.mended += len(names)
