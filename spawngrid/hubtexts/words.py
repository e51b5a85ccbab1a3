"""Lines of hubs and of requests: words, then `attr=value` pairs. Pure.

A word is printable and has no white space, no quotes and nothing that a shell or a path reads as
something else, so a script may use it as it is. What does not fit is refused, never mended.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from spawngrid.errors import BadWord

LINE_SIZE_MAX: Final = 16 << 10  # characters: a `here` line of a node with many environments
WORD_SIZE_MAX: Final = 512
WORDS_MAX: Final = 64  # in a request
NAME_SIZE_MAX: Final = 64  # of users, nodes and aliases

_SAFE = r"A-Za-z0-9_.,:!~@%+/*-"
_WORD = re.compile(rf"[{_SAFE}]+", re.ASCII)
_PAIR = re.compile(rf"([a-z][a-z-]*)=([{_SAFE}]*)", re.ASCII)
# what becomes a file name or a hub name
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a verb, what it is about, and what else is said of it."""

    verb: str
    words: tuple[str, ...] = ()
    pairs: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        pairs = (f"{attr}={value}" for attr, value in self.pairs.items())
        return " ".join((self.verb, *self.words, *pairs))


def parse_line(text: str) -> Line:
    """Return the line that `text` spells; BadWord if any of it could mean something else."""
    if len(text) > LINE_SIZE_MAX:
        raise BadWord(f"a line of {len(text)} characters: at most {LINE_SIZE_MAX}")
    return line_of(text.split(" ") if text else [])


def line_of(tokens: list[str] | tuple[str, ...]) -> Line:
    """Return the line of these words; BadWord."""
    words: list[str] = []
    pairs: dict[str, str] = {}
    for token in tokens:
        if (pair := _PAIR.fullmatch(token)) is not None:
            if pair[1] in pairs:
                raise BadWord(f"{pair[1]}= is there twice")
            pairs[pair[1]] = pair[2]
        elif pairs or not _WORD.fullmatch(token):
            raise BadWord(f"{token[:40]!r} is not a word here")
        else:
            words.append(token)
    if not words:
        raise BadWord("a line without a verb")
    return Line(words[0], tuple(words[1:]), pairs)


def check_words(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words of a request if they are fit to be kept and passed on; BadWord."""
    if not 1 <= len(words) <= WORDS_MAX:
        raise BadWord(f"a request has 1 to {WORDS_MAX} words")
    for word in words:
        if len(word) > WORD_SIZE_MAX:
            raise BadWord(f"{word[:40]}…: a word has at most {WORD_SIZE_MAX} characters")
    line_of(words)
    return words


def check_user_or_node(name: str) -> str:
    """Return the name of a user, a node or an environment if it may be one; BadWord."""
    if len(name) > NAME_SIZE_MAX or not _NAME.fullmatch(name):
        raise BadWord(
            f"{name[:40]!r} cannot be a name: letters, digits and _ . @ + - only, at most"
            f" {NAME_SIZE_MAX}, a letter or digit first"
        )
    return name
