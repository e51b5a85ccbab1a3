"""The grammar of ndb(6) in plain tuples and lists: for those who have no time to import more. Pure.

Source: ndb(6), and what Plan 9's programs do where it is silent. A record begins on a line whose
first character is not white; lines that begin with white space go on with it, and so does what
follows a comment line; an empty line ends it. White space is blank, tab and carriage return,
nothing else. Text behind the last newline is no line.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing has it, which takes longer to import than a question to answer
if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Sequence

ATTR_BYTES_MAX = 31
"""Longer attributes are cut to this when read. Source: ndb(6) programs keep 32 with the NUL."""
WHITE = " \t\r"
_ODD = ('"', "#", "\t", "\r", " =")  # a line without them is words between blanks
Words = tuple[str, str]  # attribute and value


def pairs_of(line: str) -> list[Words]:
    """Return the pairs of one line."""
    bare = line.strip(WHITE)
    if any(odd in bare for odd in _ODD) or bare[:1] == "=":
        from ndbdb.tokens import tokens

        return [*map(words_of, tokens(line))]
    pairs: list[Words] = []
    for word in bare.split(" "):
        if word:
            attr, _, value = word.partition("=")
            pairs.append(
                (attr if attr.isascii() and len(attr) <= ATTR_BYTES_MAX else cut(attr), value)
            )
    return pairs


def words_of(match: re.Match[str]) -> Words:
    """Return attribute and value of one token."""
    attr = match["attr"]
    if len(attr) > ATTR_BYTES_MAX or not attr.isascii():
        attr = cut(attr)
    return attr, match["quoted"] or match["plain"] or ""


def cut(attr: str) -> str:
    """Return the first ATTR_BYTES_MAX bytes of an attribute."""
    return attr.encode(errors="surrogateescape")[:ATTR_BYTES_MAX].decode(errors="surrogateescape")


def records(text: str, first_line: int = 1) -> Iterator[list[tuple[int, list[Words]]]]:
    """Yield the records of `text`: of each its lines that have pairs, each with its number."""
    lines: list[tuple[int, list[Words]]] = []
    for number, line in enumerate(text.split("\n")[:-1], first_line):
        if lines and (not line or line[0] not in WHITE + "#"):
            yield lines
            lines = []
        if pairs := pairs_of(line):
            lines.append((number, pairs))
    if lines:
        yield lines


def place(lines: Sequence[Sequence[Words]], pair: Words) -> tuple[int, int] | None:
    """Return the number of the first line that has `pair`, and that of the pair in it."""
    for number, line in enumerate(lines):
        if pair in line:
            return number, line.index(pair)
    return None


def nearest(lines: Sequence[Sequence[Words]], line: int, pair: int, attr: str) -> str | None:
    """Return the value of `attr` nearest to a pair: on its line, going round from it; then anywhere."""
    near = lines[line]
    for several in (near[pair:], near[:pair], *lines):
        for found, value in several:
            if found == attr:
                return value
    return None
