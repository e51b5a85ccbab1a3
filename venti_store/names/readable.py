"""The name records of a log, one after the other, also where some cannot be read."""

from collections.abc import Iterator
from dataclasses import dataclass

from venti_store.errors import CorruptBlock
from venti_store.interfaces import LogRecord
from venti_store.names.interfaces import NameStore


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A name record that is not what its score says."""

    number: int
    why: str


def name_records(store: NameStore, start: int) -> Iterator[LogRecord | Unreadable]:
    """Give every name record from number `start` on, or that it cannot be read."""
    last = start - 1
    records = store.names(start)
    while True:
        try:
            for record in records:
                if record.number > last:
                    last = record.number
                    yield record
        except CorruptBlock as error:
            last = _damaged(store, last + 1)
            yield Unreadable(last, str(error))
            records = store.names(last + 1)
        else:
            return


def _damaged(store: NameStore, start: int) -> int:
    """Return the number of the first name record from `start` on that cannot be read."""
    for entry in store.entries(start):
        if entry.kind is None:
            try:
                next(store.log(entry.number))
            except CorruptBlock:
                return entry.number
    raise AssertionError("the log said that there is one")
