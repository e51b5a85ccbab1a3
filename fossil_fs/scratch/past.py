"""The records of a scratch as a snapshot sees them."""

from collections.abc import Iterator

from fossil_fs.scratch.history import Epoch, scan_past, seen_by, unpack_past
from fossil_fs.scratch.metadata import View
from fossil_fs.scratch.scratch import Records


class Past(Records):
    """The records at the end of one epoch, while the scratch goes on changing."""

    def __init__(self, present: View, epoch: Epoch) -> None:
        self._present = present
        self._number = epoch.number

    @property
    def transaction(self) -> object:  # the present's may be replaced
        return self._present.transaction

    def get(self, key: bytes) -> bytes | None:
        found = seen_by(self.transaction, key, self._number)
        return self._present.get(key) if found is None else unpack_past(found[1])

    def scan(self, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """As `View.scan`: what is there now, but where something else was put aside."""
        past = scan_past(self.transaction, prefix, after, self._number)
        aside = next(past, None)
        for rest, value in View.scan(self, prefix, after):
            while aside is not None and aside[0] < rest:
                yield from _present(*aside)
                aside = next(past, None)
            if aside is not None and aside[0] == rest:
                yield from _present(*aside)
                aside = next(past, None)
            else:
                yield rest, value
        while aside is not None:
            yield from _present(*aside)
            aside = next(past, None)


class NoRecords(Records):
    """A scratch in which nothing was changed."""

    def __init__(self) -> None:
        super().__init__(None)

    def get(self, key: bytes) -> bytes | None:
        return None

    def scan(self, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        return iter(())


def _present(rest: bytes, packed: bytes) -> Iterator[tuple[bytes, bytes]]:
    value = unpack_past(packed)
    if value is not None:
        yield rest, value
