"""How replication is doing, as one object: what `replicate --status --json` prints. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any

from replicator.follower import Hole
from replicator.interfaces import NameRules
from replicator.link import Link
from venti_store.interfaces import LogRecord
from venti_store.score import Score, format_score
from venti_store.stores.messages import kind_name

HOLES_SHOWN_MAX = 16  # of each link
NAMES_SHOWN_MAX = 1024  # that wait, of all links: peers decide how many there are


class NameState(StrEnum):
    """How much of a name is here."""

    PENDING = "pending"  # a peer has it; its blocks are on their way
    PARTIAL = "partial"  # a block before it could not be had: it waits for somebody who has that
    COMPLETE = "complete"  # it is in our log, with all of its blocks


@dataclass(frozen=True, slots=True)
class LocalName:
    """A name in our log: its record's score, what it is called, and its root."""

    record: Score
    label: str
    root: Score | None


def link_status(link: Link, now: float) -> dict[str, Any]:
    """Return how one link is doing; `now` is in the clock of the loop."""
    s = link.status
    holes = link.following.follower.holes if link.following is not None else []
    behind = 0.0 if s.behind_since is None else now - s.behind_since
    return {
        "peer": s.peer,
        "way": str(s.direction),
        "address": s.address,
        "state": str(s.state),
        "store": s.store_id,
        "position": s.position,
        "last": s.last,
        "lag_entries": max(s.last - s.position, 0),
        "lag_seconds": round(behind, 1),
        "blocks": s.blocks,
        "bytes": s.size,
        "names": s.names,
        "refused": s.refused,
        "refusals": s.refusals,
        "holes": len(holes),
        "missing": [_hole(hole) for hole in holes[:HOLES_SHOWN_MAX]],
        "rescans": s.rescans,
        "failures": s.failures,
        "failure": s.failure,
        "retry_seconds": None if s.retry_at is None else round(max(s.retry_at - now, 0), 1),
    }


def waiting_names(links: Iterable[Link], rules: NameRules) -> tuple[int, list[dict[str, Any]]]:
    """Return the names that peers have and we do not, each once, with the best state of any link.

    That is how many there are, and the first NAMES_SHOWN_MAX.
    """
    found: dict[bytes, tuple[LogRecord, NameState, str]] = {}
    for link in links:
        if link.following is None or str(link.status.direction) != "pull":
            continue
        for record, partial in link.following.follower.waiting_names():
            state = NameState.PARTIAL if partial else NameState.PENDING
            if record.score not in found or state is NameState.PENDING:
                found[record.score] = record, state, link.status.peer
    shown = [
        {"name": label_of(record, rules), "state": str(state), "peer": peer, "replicas": []}
        for record, state, peer in islice(found.values(), NAMES_SHOWN_MAX)
    ]
    return len(found), shown


def label_of(record: LogRecord, rules: NameRules) -> str:
    """Return what a name record is called, its hash if it is not to be trusted."""
    named = named_by(record, rules)
    return named.label if named is not None else record.score.hex()[:16]


def named_by(record: LogRecord, rules: NameRules) -> LocalName | None:
    """Return what a record names, None if it is not to be trusted."""
    from lib9.errors import SpawngridError

    try:
        named = rules(record.data)
    except SpawngridError:
        return None
    return LocalName(record.score, named.label, named.root)


def _hole(hole: Hole) -> str:
    if hole.key is None:
        return f"log number {hole.number}"
    return f"{format_score(hole.key.score)} ({kind_name(hole.key.kind)})"
