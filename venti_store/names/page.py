"""`scorenames`: the text of an ndb file that says what a log's name records mean. Pure.

Every record of the log is one line, in the log's order. What can be seen is a record of the file:
a name with its owner, then a line for each user it is shared with, as the original had it:

    scorename=usr.0a5b14e2ff041706 rootscore=vac:… user=glenda name=usr time=… origin=… seq=1 number=9
    scorename=usr.0a5b14e2ff041706 rootscore=vac:… user=rob name=usr owner=glenda share=… … number=11

All else is a comment: what was forgotten, forgets, shares that were taken back. A new record
changes at most the lines of the name that it speaks of, and those follow from the name's records
alone; so the file is the same whether it was written at once or grew.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ndbdb.parser import pair_text, parse
from ndbdb.record import Pair
from ndbdb.record import Record as Lines
from ndbdb.scan import records_with
from venti_store.errors import BadScore
from venti_store.names.errors import BadName, BadNameRecord
from venti_store.names.record import KEY_PREFIX, Action, Record, unsigned
from venti_store.names.view import Named, forgotten_by, shares
from venti_store.names.words import parse_time, split_full
from venti_store.score import Score, format_score, parse_score

SCORENAMES: Final = "scorenames"  # its name, beside a store
COMMENT: Final = "# "
LOOKED_UP_MAX: Final = 16  # names looked for by searching the text; more: a set of all is made
_NUMBER = re.compile(r" number=(\d+)$", re.ASCII)
_REFUSED = re.compile(rf"{COMMENT}refused: (.*) number=(\d+)\n", re.ASCII)
_SPEAKS = re.compile(rf"^(?:{COMMENT})?(?:{'|'.join(Action)})=(\S+) ", re.ASCII | re.MULTILINE)


def head_of(store_id: str, stamp: str) -> str:
    """Return the first line of a scorenames file; one with another is made again."""
    return f"# names in the log of store {store_id}, {stamp}; made from it: changes here are lost\n"


@dataclass(frozen=True, slots=True)
class Numbered:
    """A record with its number in the log; `record` None: one that is not accepted, and why."""

    number: int
    record: Record | None
    why: str = ""


class Page:
    """The text of a scorenames file. `head` is its first line, a comment, with the newline."""

    def __init__(self, text: str, head: str) -> None:
        self.text = text
        self.head = head
        self._names: set[str] | None = None

    @classmethod
    def empty(cls, head: str) -> "Page":
        return cls(head, head)

    @property
    def number(self) -> int:
        """The number in the log of the last record that is in the text, 0: none."""
        lines = self.text.rsplit("\n", 2)
        match = _NUMBER.search(lines[-2]) if len(lines) > 2 else None
        return int(match[1]) if match else 0

    def last(self) -> Numbered | None:
        """Return the last record that is in the text."""
        if self.text == self.head:
            return None
        return _of_line(self.text[self.text.rfind("\n", 0, -1) + 1 :])

    def is_sound(self) -> bool:
        """Tell whether the text is one that this class wrote up to its last byte."""
        return self.text.startswith(self.head) and (
            self.text == self.head or (self.text.endswith("\n") and self.number > 0)
        )

    def last_seq(self, origin: bytes) -> int:
        """Return the highest number that a record of `origin` has here."""
        key = re.escape(KEY_PREFIX + origin.hex())
        return max(map(int, re.findall(rf" origin={key} seq=(\d+) ", self.text)), default=0)

    def records(self, word: str) -> list[Numbered]:
        """Return all records that speak of names of one word, in the log's order."""
        found = []
        for line in self._lines_with(f"={word}."):
            spoken = _SPEAKS.match(line)
            if spoken is not None and spoken[1].rpartition(".")[0] == word:
                found.append(record_of(line))
        return found

    def refused(self, word: str) -> list[Numbered]:
        """Return what of one word is in the log and does not count, with the reasons."""
        start = f"{COMMENT}refused: {word}."
        return [_of_line(line) for line in self._lines_with(start) if line.startswith(start)]

    def _lines_with(self, needle: str) -> Iterator[str]:
        at = self.text.find(needle)
        while at >= 0:
            end = self.text.index("\n", at) + 1
            yield self.text[self.text.rfind("\n", 0, at) + 1 : end]
            at = self.text.find(needle, end)

    def names(self, word: str | None = None) -> list[Named]:
        """Return the names that are visible, all or of one word."""
        return names_in(self.text, word)

    def named(self, full: str) -> Named | None:
        """Return the visible name of which `full` is the whole."""
        parts = split_full(full)
        found = self.names(parts[0]) if parts else []
        return next((named for named in found if named.full == full), None)

    def has(self, record: Record) -> bool:
        """Tell whether a record is in the text."""
        return any(numbered.record == record for numbered in self.records(record.name))

    def shows(self, score: Score) -> bool:
        """Tell whether a visible name means this root."""
        pair = Pair("rootscore", format_score(score))
        return any(_named(line) is not None for line in records_with(self.text, pair))

    def extended(self, records: Sequence[Numbered]) -> "Page":
        """Return the page with more records of the log, all behind those that it has."""
        assert all(r.number > self.number for r in records[:1]), "records come in the log's order"
        if len(records) > LOOKED_UP_MAX and self._names is None:
            self._names = set(_SPEAKS.findall(self.text))
        text, added = self.text, list[str]()
        fresh: set[str] = set()
        for numbered in records:
            full = numbered.record.full if numbered.record else ""
            if full and (full in fresh or self._is_known(full)):
                text = _with(text + "".join(added), numbered)
                added = []
            else:
                added += _lines([numbered])
            fresh.add(full)
        page = Page(text + "".join(added), self.head)
        if self._names is not None:
            page._names = self._names | fresh
        return page

    def _is_known(self, full: str) -> bool:
        if self._names is not None:
            return full in self._names
        return f"={full} " in self.text


def _with(text: str, numbered: Numbered) -> str:
    """Return the text with one more record of a name that it speaks of already."""
    assert numbered.record is not None
    places = _places(text, numbered.record.full)
    known = [record for _, _, record in places]
    lines = _lines([*known, numbered])
    for (start, end, _), line in reversed(list(zip(places, lines, strict=False))):
        if text[start:end] != line:
            text = text[:start] + line + text[end:]
    return text + lines[-1]


def _places(text: str, full: str) -> list[tuple[int, int, Numbered]]:
    """Return where the lines of one name are, with the records that they are made of."""
    places = []
    needle = f"={full} "
    at = text.find(needle)
    while at >= 0:
        start = text.rfind("\n", 0, at) + 1
        end = text.index("\n", at) + 1
        match = _SPEAKS.match(text[start:end])
        if match and match.end() == at + len(needle) - start:
            places.append((start, end, record_of(text[start:end])))
        at = text.find(needle, end)
    return places


def _lines(records: list[Numbered]) -> list[str]:
    """Return the lines of records, in their order; all records of the names that they speak of."""
    about = [numbered.record for numbered in records if numbered.record is not None]
    seen = {r.full: r for r in about if r.action is Action.NAME and not forgotten_by(r, about)}
    counting = {s for record in seen.values() for s in shares(record, about)}
    lines = []
    for numbered in records:
        record = numbered.record
        if record is None:
            lines.append(f"{COMMENT}refused: {numbered.why} number={numbered.number}\n")
            continue
        body = unsigned(record).decode()
        target = seen.get(record.full)
        if record.action is Action.NAME and forgotten_by(record, about) is None:
            body = _name_line(record)
        elif record in counting and target is not None and target.score is not None:
            body = _share_line(record, target.score)
        else:
            body = COMMENT + body
        lines.append(f"{body} number={numbered.number}\n")
    return lines


def _name_line(record: Record) -> str:
    head, user, rest = unsigned(record).decode().partition(f" user={record.user} ")
    return f"{head}{user}name={record.name} {rest}"


def _share_line(record: Record, score: Score) -> str:
    pairs = [
        Pair("scorename", record.full),
        Pair("rootscore", format_score(score)),
        Pair("user", record.to),
        Pair("name", record.name),
        Pair("owner", record.user),
        Pair("share", record.id),
    ]
    _, _, rest = unsigned(record).decode().partition(f" user={record.user} ")
    return " ".join(map(pair_text, pairs)) + " " + rest


def _of_line(line: str) -> Numbered:
    refused = _REFUSED.fullmatch(line)
    return Numbered(int(refused[2]), None, refused[1]) if refused is not None else record_of(line)


def record_of(line: str) -> Numbered:
    """Return the record that a line was made of; BadNameRecord if somebody changed it."""
    try:
        return _record_of(line)
    except (BadScore, KeyError, StopIteration, ValueError):
        raise BadNameRecord(f"{SCORENAMES}: a line that was changed: {line[:80]!r}") from None


def _record_of(line: str) -> Numbered:
    [read] = parse(line.removeprefix(COMMENT))
    values = {pair.attr: pair.value for pair in read.pairs()}
    first = next(iter(read.pairs()))
    parts = split_full(first.value)
    if parts is None or first.attr not in set(Action):
        raise ValueError
    action = Action.SHARE if "share" in values else Action(first.attr)
    shown = first.attr == Action.NAME and action is Action.SHARE
    record = Record(
        action=action,
        name=parts[0],
        nonce=parts[1],
        user=values["owner"] if shown else values["user"],
        time=parse_time(values["time"]),
        origin=bytes.fromhex(values["origin"].removeprefix(KEY_PREFIX)),
        seq=int(values["seq"]),
        score=parse_score(values["rootscore"]) if action is Action.NAME else None,
        to=values["user"] if shown else values.get("with", ""),
        revokes=tuple(read.all("revokes")),
        parent=values.get("parent", ""),
        comment=values.get("comment", ""),
    )
    return Numbered(int(values["number"]), record)


def names_in(text: str, word: str | None = None, file: str = "") -> list[Named]:
    """Return the names that a scorenames file shows: all, or those of one word.

    Lines that make no sense are passed over.
    """
    if word is None:
        lines: Iterable[Lines] = parse(text, file)
    else:
        lines = records_with(text, Pair("name", word), file)
    found: dict[tuple[str, str], list[Named]] = {}
    shared: dict[tuple[str, str], set[str]] = {}
    for line in lines:
        named = _named(line)
        owner = line.get("owner")
        if named is not None and owner is None:
            found.setdefault((named.full, named.owner), []).append(named)
        elif named is not None and owner is not None:
            shared.setdefault((named.full, owner), set()).add(named.owner)
    return [_shared(named, shared.get(key)) for key, several in found.items() for named in several]


def _shared(named: Named, users: set[str] | None) -> Named:
    if not users:
        return named
    return Named(
        named.name, named.nonce, named.score, named.owner, named.time, frozenset(users),
        named.origin, named.seq, named.parent, named.comment,
    )  # fmt: skip


def _named(line: Lines) -> Named | None:
    parts = split_full(line.get("scorename") or "")
    if parts is None:
        return None
    try:
        return Named(
            name=parts[0],
            nonce=parts[1],
            score=parse_score(line.get("rootscore") or ""),
            owner=line.get("user") or "",
            time=parse_time(line.get("time") or ""),
            origin=bytes.fromhex((line.get("origin") or "").removeprefix(KEY_PREFIX)),
            seq=int(line.get("seq") or "0"),
            parent=line.get("parent") or "",
            comment=line.get("comment") or "",
        )
    except (BadScore, BadName, ValueError):
        return None
