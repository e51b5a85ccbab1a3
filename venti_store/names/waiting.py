"""Name records that are not in the log yet: an ndb file of each with the reasons. Pure.

A record's own line is followed by one of why it waits and one for each block that is missing:

    scorename=usr.0a5b… rootscore=vac:… … sig=…
        state=pending why="2 blocks are not here"
        missing=vac:… kind=13 why="not here"
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lib9.sizes import format_count
from lib9.telling import printable
from ndbdb.parser import pair_text, parse
from ndbdb.record import Line, Pair
from venti_store.errors import BadScore
from venti_store.hashtree.closure import Hole
from venti_store.interfaces import Key
from venti_store.kind import Kind
from venti_store.names.errors import BadNameRecord, TooManyWaiting
from venti_store.names.interfaces import State, Verdict
from venti_store.names.record import Record, unpack
from venti_store.score import format_score, parse_score

PENDING_MAX: Final = 10_000  # records: far more than roots are under way at a time
REFUSED_MAX: Final = 100  # kept so that people can be told; the oldest go first
HOLES_MAX: Final = 8  # named of one record
WHY_MAX: Final = 200  # characters


@dataclass(frozen=True, slots=True)
class Waiting:
    """A record that is not in the log, its bytes, and what was said of it."""

    record: Record
    data: bytes
    verdict: Verdict


def bounded(waiting: list[Waiting]) -> list[Waiting]:
    """Return what is kept of these: all that is pending, the last of the refused. TooManyWaiting."""
    refused = [w for w in waiting if w.verdict.state is State.REFUSED]
    dropped = {id(each) for each in refused[:-REFUSED_MAX]}
    kept = [each for each in waiting if id(each) not in dropped]
    if len(kept) - min(len(refused), REFUSED_MAX) > PENDING_MAX:
        raise TooManyWaiting(f"more than {PENDING_MAX} name records wait for their blocks")
    return kept


def format_waiting(waiting: list[Waiting]) -> str:
    """Return the text of the file."""
    return "".join(map(_text, waiting))


def parse_waiting(text: str) -> list[Waiting]:
    """Return what a file says; records that make no sense are left out: they come again."""
    found = []
    for read in parse(text):
        own, *rest = read.lines
        line = (" ".join(map(pair_text, own.pairs)) + "\n").encode(errors="surrogateescape")
        try:
            record, _ = unpack(line)
            verdict = _verdict(record.full, rest)
        except (BadNameRecord, BadScore, ValueError):
            continue
        found.append(Waiting(record, line, verdict))
    return found


def why_missing(holes: Sequence[Hole]) -> str:
    """Return what there is to say of the holes below a root, of which there is one at least."""
    first = holes[0]
    more = f" and {format_count(len(holes) - 1, 'other')}" if len(holes) > 1 else ""
    return f"{format_score(first.key.score)} ({first.key.kind.name.lower()}){more}: {first.why}"


def _text(waiting: Waiting) -> str:
    verdict = waiting.verdict
    lines = [f"\tstate={verdict.state} {_why(verdict.why)}"]
    lines += [
        f"\tmissing={format_score(hole.key.score)} kind={int(hole.key.kind)} {_why(hole.why)}"
        for hole in verdict.holes[:HOLES_MAX]
    ]
    return waiting.data.decode() + "".join(line + "\n" for line in lines)


def _why(why: str) -> str:
    return pair_text(Pair("why", printable(why)[:WHY_MAX].replace('"', "'")))


def _verdict(label: str, lines: list[Line]) -> Verdict:
    state, why, holes = State.PENDING, "", []
    for line in lines:
        values = {pair.attr: pair.value for pair in line.pairs}
        if "missing" in values:
            key = Key(parse_score(values["missing"]), Kind(int(values.get("kind", "0"))))
            holes.append(Hole(key, values.get("why", "")))
        elif "state" in values:
            state, why = State(values["state"]), values.get("why", "")
    return Verdict(state, label, 0, why, tuple(holes))
