"""Pairs, lines and records: what a network database says, without where it is stored.

Text from a file may hold bytes that are not UTF-8; they are kept as lone surrogates
(`surrogateescape`), so nothing is lost between a file and a record.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ndbdb.errors import MissingAttribute


class Pair(NamedTuple):
    """One `attr=value`; an attribute without a value has the empty one."""

    attr: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """Pairs that stand on one line, at least one: they bind tighter than the rest of the record."""

    pairs: tuple[Pair, ...]
    number: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Record:
    """One entry: at least one line. Where it was read does not count when records are compared."""

    lines: tuple[Line, ...]
    file: str = field(default="", compare=False)

    @classmethod
    def of(cls, *pairs: tuple[str, str]) -> "Record":
        """Return a record of one line."""
        return cls((Line(tuple(Pair(attr, value) for attr, value in pairs)),))

    @property
    def where(self) -> str:
        """`FILE:LINE` of its first line."""
        return f"{self.file}:{self.lines[0].number}"

    def pairs(self) -> Iterator[Pair]:
        """Yield all pairs in order."""
        for line in self.lines:
            yield from line.pairs

    def all(self, attr: str) -> list[str]:
        """Return the values of every `attr`, in order."""
        return [pair.value for pair in self.pairs() if pair.attr == attr]

    def get(self, attr: str) -> str | None:
        """Return the first value of `attr`, None if the record has no such attribute."""
        for pair in self.pairs():
            if pair.attr == attr:
                return pair.value
        return None

    def need(self, attr: str) -> str:
        """Return the first value of `attr`; MissingAttribute names file and line."""
        value = self.get(attr)
        if value is None:
            raise MissingAttribute(f"{self.where}: the record has no {attr}=")
        return value
