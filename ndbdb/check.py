"""What a person who wrote a network database did not mean. Pure.

Everything is valid ndb(6); these are the places where it says something else than it looks like.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

from ndbdb.grammar import ATTR_BYTES_MAX, WHITE, cut
from ndbdb.tokens import tokens


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding; `str()` is `FILE:LINE: what`."""

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"


Token = re.Match[str]


def check(text: str, file: str = "") -> Iterator[Problem]:
    """Yield what is wrong with a file, in the order of its lines."""
    lines = text.split("\n")
    inside = False
    for number, line in enumerate(lines[:-1], 1):
        found = [*_of_line(line), *_of_pairs(line)]
        indented = (
            line[:1] in WHITE and line.strip(WHITE) and not line.lstrip(WHITE).startswith("#")
        )
        if line and indented and not inside:
            found.append(
                "indented, but there is no record above to go on with: a record of its own"
            )
        if not line:
            inside = False
        elif line.strip(WHITE) and line.lstrip(WHITE)[0] != "#":
            inside = True
        yield from (Problem(file, number, what) for what in found)
    if lines[-1]:
        yield Problem(file, len(lines), "the last line has no newline: it is not read")


def _of_line(line: str) -> Iterator[str]:
    if "\0" in line:
        yield "NUL byte"
    if "\r" in line:
        yield "carriage return: white space here, so a line of only that ends no record"
    if not line.isascii() and any("\udc80" <= c <= "\udcff" for c in line):
        yield "not UTF-8"


def _of_pairs(line: str) -> Iterator[str]:
    pairs = list(tokens(line))
    for here, following in zip_longest(pairs, pairs[1:]):
        for rule in _RULES:
            if (what := rule(line, here, following)) is not None:
                yield what


def _too_long(_line: str, here: Token, _next: Token | None) -> str | None:
    attr = here["attr"]
    if cut(attr) == attr:
        return None
    return f"attribute over {ATTR_BYTES_MAX} bytes, cut to {cut(attr)!r}"


def _no_name(_line: str, here: Token, _next: Token | None) -> str | None:
    return None if here["attr"] else "nothing before '=': an attribute without a name"


def _unterminated(_line: str, here: Token, _next: Token | None) -> str | None:
    if here["quoted"] is None or here["close"]:
        return None
    return f"unterminated quote: {here['attr']} is the rest of the line"


def _white_around_equals(_line: str, here: Token, following: Token | None) -> str | None:
    attr = here["attr"]
    if here["gap"] is None or here["quoted"] is not None:
        return None
    if not here["plain"] and following is not None and following["gap"] is None:
        word = following["attr"]
        return f"white space after '=': {attr} is empty and {word!r} an attribute of its own"
    return f"white space before '=': belongs to {attr}" if here["gap"] else None


def _comment_for_value(line: str, here: Token, _next: Token | None) -> str | None:
    if here["gap"] is None or here["plain"] or line[here.end() : here.end() + 1] != "#":
        return None
    if here["quoted"] is not None:
        return None
    return f"'#' right after '=': {here['attr']} is empty and the rest a comment; quote it"


def _other_quotes(_line: str, here: Token, _next: Token | None) -> str | None:
    plain = here["plain"] or ""
    if plain.startswith("'"):
        return f"single quotes do not quote: {here['attr']} is {plain}"
    if '"' in plain:
        return f"quote within a value: {here['attr']} is {plain}"
    return None


def _joined(_line: str, here: Token, following: Token | None) -> str | None:
    if not here["close"] or following is None or following.start("attr") > here.end():
        return None
    if following["attr"].startswith("#"):
        return None
    return f"text right behind a closing quote: {following['attr']!r} is an attribute of its own"


_RULES: tuple[Callable[[str, Token, Token | None], str | None], ...] = (
    _too_long,
    _no_name,
    _unterminated,
    _white_around_equals,
    _comment_for_value,
    _other_quotes,
    _joined,
)
