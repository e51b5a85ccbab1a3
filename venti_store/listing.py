"""Listing a store's log for somebody else: with or without blocks, and what to do about rot.

Entries that cannot be read are not left out: who follows the log must know of them.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Protocol, runtime_checkable

from venti_store.errors import CorruptBlock, LogDiverged
from venti_store.interfaces import LogEntry, LogReader, LogRecord
from venti_store.score import Family, Score


@runtime_checkable
class Log(LogReader, Protocol):
    """A store whose log has an end that can be waited at, and entries that can be looked at."""

    family: Family

    def last_number(self) -> int: ...

    def entries(self, start: int = 1) -> Iterator[LogEntry]: ...

    async def wait_log(self, number: int) -> None: ...


def check_before(store: Log, start: int, before: Score) -> None:
    """Raise LogDiverged unless the entry before `start` has the score `before`, or that is zeros."""
    if not any(before):
        return
    entry = next(store.entries(start - 1), None)
    if entry is None or entry.number != start - 1 or entry.score != before:
        raise LogDiverged(f"log number {start - 1} is another entry now")


def listed(store: Log, start: int, count: int, *, contents: bool) -> Iterator[LogRecord]:
    """Give up to `count` entries from number `start` on; what cannot be read is `damaged`.

    Without `contents` blocks are neither read nor given, name records are.
    """
    return islice((_whole if contents else _bare)(store, max(start, 1)), count)


def _whole(store: Log, start: int) -> Iterator[LogRecord]:
    number = start
    records = store.log(number)
    while True:
        try:
            record = next(records, None)
        except CorruptBlock:
            record = _damaged(store, number)
            records = store.log(number + 1)
        if record is None:
            return
        yield record
        number += 1


def _bare(store: Log, start: int) -> Iterator[LogRecord]:
    number = start
    for entry in store.entries(start):
        while number < entry.number:
            yield _damaged(store, number)
            number += 1
        if entry.kind is None:
            yield next(_whole(store, number))
        else:
            yield LogRecord(number, entry.kind, entry.score, b"", entry.size)
        number += 1


def _damaged(store: Log, number: int) -> LogRecord:
    return LogRecord(number, None, Score(bytes(store.family.size)), b"", 0)
