"""Questions to a database: which records match, and which value is nearest to the match. Pure.

A value is looked up near the match first: in the first matching record that has the attribute at
all, on the line of the match, going round from the matching pair; then in the whole record.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ndbdb.grammar import nearest, place
from ndbdb.record import Pair, Record
from ndbdb.scan import records_with


@dataclass(frozen=True, slots=True)
class Text:
    """The text of one file of a database, up to its last newline."""

    file: str
    text: str


@dataclass(frozen=True, slots=True)
class Match:
    """A record with its first matching pair: number of the line and number of the pair in it."""

    record: Record
    line: int
    pair: int

    def value(self, attr: str) -> str | None:
        """Return the value of `attr` nearest to the match, None if the record lacks it."""
        lines = [line.pairs for line in self.record.lines]
        return nearest(lines, self.line, self.pair, attr)


def search(texts: Iterable[Text], attr: str, value: str) -> Iterator[Match]:
    """Yield every record that has attr=value, files in order, records in order."""
    pair = Pair(attr, value)
    for text in texts:
        for record in records_with(text.text, pair, text.file):
            yield match(record, pair)


def match(record: Record, pair: Pair) -> Match:
    at = place([line.pairs for line in record.lines], pair)
    assert at is not None, f"{record.where} has no {pair}"
    return Match(record, *at)


def lookup(matches: Iterable[Match], attr: str) -> tuple[Match, str] | None:
    """Return the first match whose record has `attr`, and the value nearest to it."""
    for match in matches:
        value = match.value(attr)
        if value is not None:
            return match, value
    return None
