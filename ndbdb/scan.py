"""Find the records that have a pair without parsing the others: a text search, then the grammar.

A value stands in the text as it is, right behind `=` or `="`, so one search for it finds every
candidate; only the records around candidates are parsed. A hundred thousand records take
milliseconds, where parsing all of them takes a second.
"""

import re
from collections.abc import Iterator

from ndbdb.parser import WHITE, parse
from ndbdb.record import Pair, Record

_RECORD_ENDS = re.compile(r"\n(?![ \t\r#])")


def records_with(text: str, pair: Pair, file: str = "") -> Iterator[Record]:
    """Yield the records of `text` that have `pair`, in order."""
    done, counted, number = 0, 0, 1
    for hit in _candidates(text, pair):
        if hit < done:
            continue
        start = _record_start(text, hit, done)
        ends = _RECORD_ENDS.search(text, hit)
        done = ends.end() if ends else len(text)
        number += text.count("\n", counted, start)
        counted = start
        for record in parse(text[start:done], file, number):
            if pair in record.pairs():
                yield record


def _candidates(text: str, pair: Pair) -> Iterator[int]:
    if not pair.value:
        # the start of it: a long attribute may be cut within its last character
        return _finds(text, pair.attr[:7] or "=")
    return (at for at in _finds(text, pair.value) if _is_value(text, at, at + len(pair.value)))


def _finds(text: str, needle: str) -> Iterator[int]:
    # from behind first: where there is nothing, CPython tells so three times as fast
    end = text.rfind(needle) + len(needle)
    position = text.find(needle, 0, end)
    while 0 <= position < end:
        yield position
        position = text.find(needle, position + 1, end)


def _is_value(text: str, start: int, end: int) -> bool:
    """Tell whether what stands from `start` to `end` may be a whole value."""
    if text[start - 1 : start] == "=" and text[end : end + 1] in WHITE + "\n":
        return True
    return text[max(start - 2, 0) : start] == '="' and text[end : end + 1] in '"\n'


def _record_start(text: str, position: int, floor: int) -> int:
    """Return where the record around `position` begins; nothing of it lies before `floor`."""
    while True:
        start = text.rfind("\n", floor, position) + 1 or floor
        if start <= floor or text[start] not in WHITE + "#":
            return start
        if start == 1 or text[start - 2] == "\n":
            return start  # an empty line before it
        position = start - 1
