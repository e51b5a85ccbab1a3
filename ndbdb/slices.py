"""Where in a text the records lie that may have a pair, by a search for its value. Pure.

A value stands in the text as it is, right behind `=` or `="`, so one search for it finds every
candidate; only the records around candidates are parsed. A hundred thousand records take
milliseconds, where parsing all of them takes a second.
"""

from __future__ import annotations

from ndbdb.grammar import WHITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def candidates(text: str, attr: str, value: str) -> Iterator[tuple[int, int]]:
    """Yield where in `text` the records begin and end that may have attr=value, in order."""
    done = 0
    for hit in _hits(text, attr, value):
        if hit < done:
            continue
        start = _record_start(text, hit, done)
        done = _record_end(text, hit)
        yield start, done


def _hits(text: str, attr: str, value: str) -> Iterator[int]:
    if not value:
        # the start of it: a long attribute may be cut within its last character
        return _finds(text, attr[:7] or "=")
    return (at for at in _finds(text, value) if _is_value(text, at, at + len(value)))


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


def _record_end(text: str, position: int) -> int:
    """Return where the record around `position` ends: behind a newline that nothing goes on after."""
    end = text.find("\n", position) + 1
    while 0 < end < len(text) and text[end] in WHITE + "#":
        end = text.find("\n", end) + 1
    return end or len(text)
