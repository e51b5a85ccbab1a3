"""The grammar of ndb(6): text to records, a record to text. Pure; each the inverse of the other.

Source: ndb(6), and what Plan 9's programs do where it is silent. A record begins on a line whose
first character is not white; lines that begin with white space go on with it, and so does what
follows a comment line; an empty line ends it. White space is blank, tab and carriage return,
nothing else. Text behind the last newline is no line.
"""

import re
from collections.abc import Iterator

from ndbdb.errors import Unprintable
from ndbdb.record import ATTR_BYTES_MAX, Line, Pair, Record

WHITE = " \t\r"
PAIR = re.compile(
    r"""[ \t\r]*
    (?!\#)(?P<attr>[^= \t\r\n]*)
    (?: (?P<gap>[ \t\r]*) =
        (?: "(?P<quoted>[^"\n]*) (?P<close>"?)
          | (?=\#)                     # a comment where a value would be: the value is empty
          | (?P<plain>[^ \t\r\n]*) ) )?""",
    re.VERBOSE,
)
# what most pairs are: nothing in them needs a second look
_PLAIN_ATTR = re.compile(rf"[!$-<>-~][!-<>-~]{{0,{ATTR_BYTES_MAX - 1}}}")
_PLAIN_VALUE = re.compile(r"(?:[!$-~][!-~]*)?")


def tokens(line: str) -> Iterator[re.Match[str]]:
    """Yield a match of PAIR for each pair of a line, up to its end or a comment."""
    position = 0
    while (match := PAIR.match(line, position)) and match.end() > position:
        if not match["attr"] and match["gap"] is None:
            return  # trailing white space
        yield match
        position = match.end()


def pair_of(match: re.Match[str]) -> Pair:
    """Return the pair of one token."""
    attr = match["attr"]
    if len(attr) > ATTR_BYTES_MAX or not attr.isascii():
        attr = cut(attr)
    return Pair(attr, match["quoted"] or match["plain"] or "")


def cut(attr: str) -> str:
    """Return the first ATTR_BYTES_MAX bytes of an attribute."""
    return attr.encode(errors="surrogateescape")[:ATTR_BYTES_MAX].decode(errors="surrogateescape")


def parse(text: str, file: str = "", first_line: int = 1) -> Iterator[Record]:
    """Yield the records of `text`, in order; everything is a record or nothing, there are no errors."""
    lines: list[Line] = []
    for number, line in enumerate(text.split("\n")[:-1], first_line):
        if lines and (not line or line[0] not in WHITE + "#"):
            yield Record(tuple(lines), file)
            lines = []
        if pairs := tuple(map(pair_of, tokens(line))):
            lines.append(Line(pairs, number))
    if lines:
        yield Record(tuple(lines), file)


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
