"""The original's plain lines: `scorename=NAME rootscore=vac:… user=USER`, in and out.

In the original a line was all there was: the first of a name made it, another user's line shared it.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lib9.errors import SpawngridError
from ndbdb.parser import parse, unparse
from ndbdb.record import Record as Lines
from venti_store.errors import HashMismatch
from venti_store.names.interfaces import NameBook, State
from venti_store.names.record import SIGNATURE_ATTR, Action
from venti_store.names.view import Named
from venti_store.names.words import check_name, same_second, split_full
from venti_store.score import Family, Score, format_score, parse_score

TAKEN_AT_ONCE: Final = 1000  # signed records given to the book together
_ASSIGNMENT = re.compile(r"(?m)^[ \t]*([^\s=#]+)[ \t]*=[ \t]*(vac:[0-9a-f]{40})[ \t]*$")
"""How names were written before they were records: `NAME = vac:…`."""


@dataclass(slots=True)
class Imported:
    """What became of lines: named or shared now, there before, and not taken."""

    recorded: int = 0
    known: int = 0
    pending: int = 0
    failed: int = 0


def plain_lines(names: Iterable[Named]) -> Iterator[str]:
    """Give the lines that say the same of these names: one for each user who may see one."""
    for named in names:
        for user in (named.owner, *sorted(named.shared)):
            yield unparse(
                Lines.of(
                    ("scorename", named.full),
                    ("rootscore", format_score(named.score)),
                    ("user", user),
                )
            )


async def import_lines(
    book: NameBook,
    family: Family,
    text: str,
    *,
    user: str,
    now_us: int,
    tell: Callable[[str], None],
) -> Imported:
    """Give a book what lines say, plain ones and signed records, and return what became of them.

    Plain names are signed by this node; those without a user are `user`'s. A name that means the
    same root for the same user, since the same second if the line has a time, is not made again.
    What fails is told, a line each. Raises as the store does.
    """
    done = Imported()
    signed: list[bytes] = []
    for line in parse(_ASSIGNMENT.sub(r"scorename=\1 rootscore=\2", text)):
        if line.get(SIGNATURE_ATTR) is not None:
            signed.append(unparse(line).encode(errors="surrogateescape"))
        elif line.get(Action.NAME) is not None:
            await _take(signed, book, done, tell)  # in the order of the lines
            try:
                await _plain(line, book, family, user, now_us, done)
            except (SpawngridError, ValueError) as error:
                done.failed += 1
                tell(f"{line.get(Action.NAME)}: {error}")
        if len(signed) >= TAKEN_AT_ONCE:
            await _take(signed, book, done, tell)
    await _take(signed, book, done, tell)
    return done


async def _take(
    signed: list[bytes], book: NameBook, done: Imported, tell: Callable[[str], None]
) -> None:
    if not signed:
        return
    for verdict in await book.take(signed):
        done.recorded += verdict.state is State.RECORDED
        done.known += verdict.state is State.KNOWN
        done.pending += verdict.state is State.PENDING
        done.failed += verdict.state is State.REFUSED
        if verdict.why:
            tell(f"{verdict.label}: {verdict.why.removeprefix(f'{verdict.label}: ')}")
    signed.clear()


async def _plain(
    line: Lines, book: NameBook, family: Family, user: str, now_us: int, done: Imported
) -> None:
    full = line.need(Action.NAME)
    score: Score = parse_score(line.need("rootscore"))
    if len(score) != family.size:
        raise HashMismatch(f"its root is of another hash than this store's ({family.name})")
    who = line.get("user") or user
    parts = split_full(full)
    name = parts[0] if parts else check_name(full)
    moment = line.get("time")
    time = _microseconds(moment) if moment else None
    same = [
        n
        for n in book.names()
        if (n.name, n.score) == (name, score) and (time is None or same_second(n.time, time))
    ]
    if any(named.is_for(who) for named in same):
        done.known += 1
    elif same:
        await book.share(same[-1].full, who, user=same[-1].owner, now_us=now_us)
        done.recorded += 1
    else:
        when = now_us if time is None else time
        await book.record(name, score, user=who, now_us=when, past=time is not None)
        done.recorded += 1


def _microseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1_000_000)
