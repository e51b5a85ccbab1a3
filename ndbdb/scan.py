"""Find the records that have a pair without parsing the others. Pure."""

from collections.abc import Iterator

from ndbdb.parser import parse
from ndbdb.record import Pair, Record
from ndbdb.slices import candidates


def records_with(text: str, pair: Pair, file: str = "") -> Iterator[Record]:
    """Yield the records of `text` that have `pair`, in order."""
    counted, number = 0, 1
    for start, end in candidates(text, *pair):
        number += text.count("\n", counted, start)
        counted = start
        for record in parse(text[start:end], file, number):
            if pair in record.pairs():
                yield record
