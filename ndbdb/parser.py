"""Text to records, a record to text. Pure; each the inverse of the other.

The grammar is `ndbdb.grammar`'s.
"""

import re
from collections.abc import Iterator

from ndbdb.errors import Unprintable
from ndbdb.grammar import ATTR_BYTES_MAX, WHITE, cut, records
from ndbdb.record import Line, Pair, Record

# what most pairs are: nothing in them needs a second look
_PLAIN_ATTR = re.compile(rf"[!$-<>-~][!-<>-~]{{0,{ATTR_BYTES_MAX - 1}}}")
_PLAIN_VALUE = re.compile(r"(?:[!$-~][!-~]*)?")


def parse(text: str, file: str = "", first_line: int = 1) -> Iterator[Record]:
    """Yield the records of `text`, in order; everything is a record or nothing, there are no errors."""
    for lines in records(text, first_line):
        yield Record(tuple(Line(tuple(map(Pair._make, pairs)), n) for n, pairs in lines), file)


def unparse(record: Record) -> str:
    """Return the text of a record, lines ended by newlines, such that `parse` gives it back.

    Raises Unprintable for what the grammar cannot say: a newline or NUL anywhere, white space, `=`
    or more than 31 bytes in an attribute, `#` at its start, a quote in a value that needs quotes.
    """
    if not record.lines or not all(line.pairs for line in record.lines):
        raise Unprintable("a record and each of its lines have at least one pair")
    return "\n\t".join(" ".join(map(pair_text, line.pairs)) for line in record.lines) + "\n"


def pair_text(pair: Pair) -> str:
    """Return `attr=value`, the value quoted if it must be."""
    attr, value = pair.attr, pair.value
    if _PLAIN_ATTR.fullmatch(attr) and _PLAIN_VALUE.fullmatch(value):
        return f"{attr}={value}"
    for text in (attr, value):
        if "\n" in text or "\0" in text or not _survives(text):
            raise Unprintable(f"{attr!r}={value!r}: newline, NUL or what is no text")
    if attr.startswith("#") or any(c in "= \t\r" for c in attr) or cut(attr) != attr:
        raise Unprintable(f"not an attribute: {attr!r}: white space, '=', '#' or over 31 bytes")
    if value.startswith(("#", '"')) or any(c in WHITE for c in value):
        if '"' in value:
            raise Unprintable(f"{attr}={value!r}: a value that needs quotes cannot hold one")
        return f'{attr}="{value}"'
    return f"{attr}={value}"


def _survives(text: str) -> bool:
    if text.isascii():
        return True
    try:
        stored = text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return False
    return stored.decode(errors="surrogateescape") == text
