"""What any set of records means together, whatever the order in which they came. Pure.

The rules, none of which looks at an order of arrival or trusts a clock with more than the order of
two names:

- A name is there from its NAME record on, until any FORGET of its owner is there; for good.
- It is shared with a user while there is a SHARE by its owner that no UNSHARE of its owner revokes.
  An UNSHARE revokes the shares that its maker saw, by id; one made elsewhere meanwhile stays.
- What somebody else says about a name counts for nothing.
- Names of one word are ordered by time, then by nonce: the last is the newest.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from venti_store.names.record import Action, Record
from venti_store.names.words import EVERYBODY
from venti_store.score import Score


@dataclass(frozen=True, slots=True)
class Named:
    """A name that is there: what it means, whose it is, and which others may see it.

    `time` is in microseconds since 1970. `number` is the record's in the log here, 0 if unknown.
    `origin` is empty for a name that is on this machine only.
    """

    name: str
    nonce: str
    score: Score
    owner: str
    time: int
    shared: frozenset[str] = frozenset()
    origin: bytes = b""
    seq: int = 0
    parent: str = ""
    comment: str = ""

    @property
    def full(self) -> str:
        """`NAME.NONCE`; of a name without a nonce the name alone."""
        return f"{self.name}.{self.nonce}" if self.nonce else self.name

    def is_for(self, user: str) -> bool:
        """Tell whether `user` owns it or it is shared with them."""
        return self.owner == user or user in self.shared or EVERYBODY in self.shared


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two records of one origin with one number: it was set back to an older state, or it lies."""

    origin: bytes
    seq: int
    ids: tuple[str, ...]


class View:
    """A set of records. Two views are the same when they hold the same records."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._about: dict[str, set[Record]] = {}  # full name → every record that speaks of it
        self._by_seq: dict[tuple[bytes, int], set[str]] = {}
        self._last_seq: dict[bytes, int] = {}
        for record in records:
            self.add(record)

    def add(self, record: Record) -> bool:
        """Take a record; False if it was there."""
        about = self._about.setdefault(record.full, set())
        if record in about:
            return False
        about.add(record)
        self._by_seq.setdefault((record.origin, record.seq), set()).add(record.id)
        self._last_seq[record.origin] = max(record.seq, self.last_seq(record.origin))
        return True

    def merge(self, other: "View") -> "View":
        """Return the view of both sets."""
        return View([*self.records(), *other.records()])

    def records(self) -> Iterator[Record]:
        """Give every record, in no order that means anything."""
        for about in self._about.values():
            yield from about

    def about(self, full: str) -> list[Record]:
        """Return every record that speaks of `full`, by time."""
        return sorted(self._about.get(full, ()), key=lambda record: (record.time, record.id))

    def named(self, full: str) -> list[Named]:
        """Return what is visible under a full name: nothing, one, or several if a signer made two."""
        about = self.about(full)
        return [found for record in about if (found := _seen(record, about)) is not None]

    def visible(self) -> list[Named]:
        """Return every name that is there, by time, then nonce."""
        return sorted((n for full in self._about for n in self.named(full)), key=by_time)

    def last_seq(self, origin: bytes) -> int:
        """Return the highest number of a record of `origin`, 0 if there is none."""
        return self._last_seq.get(origin, 0)

    def missing_seqs(self, origin: bytes) -> int:
        """Return how many records of `origin` below its last are not here."""
        here = sum(1 for key in self._by_seq if key[0] == origin)
        return self.last_seq(origin) - here

    def conflicts(self) -> list[Conflict]:
        """Return the numbers that an origin used for more than one record."""
        return [
            Conflict(origin, seq, tuple(sorted(ids)))
            for (origin, seq), ids in sorted(self._by_seq.items())
            if len(ids) > 1
        ]


def by_time(named: Named) -> tuple[int, str]:
    """What names of one word are ordered by."""
    return (named.time, named.nonce)


def forgotten_by(record: Record, about: Iterable[Record]) -> Record | None:
    """Return the earliest FORGET that counts against a NAME record, None if it is there."""
    found = (r for r in about if r.action is Action.FORGET and r.user == record.user)
    return min(found, key=lambda r: (r.time, r.id), default=None)


def shares(record: Record, about: Iterable[Record]) -> list[Record]:
    """Return the SHAREs of a NAME record that count and are not revoked."""
    own = [r for r in about if r.user == record.user]
    revoked = {id_ for r in own if r.action is Action.UNSHARE for id_ in r.revokes}
    return [r for r in own if r.action is Action.SHARE and r.id not in revoked]


def _seen(record: Record, about: list[Record]) -> Named | None:
    if record.action is not Action.NAME or forgotten_by(record, about) is not None:
        return None
    assert record.score is not None, "a NAME has a score"
    return Named(
        name=record.name,
        nonce=record.nonce,
        score=record.score,
        owner=record.user,
        time=record.time,
        shared=frozenset(share.to for share in shares(record, about)),
        origin=record.origin,
        seq=record.seq,
        parent=record.parent,
        comment=record.comment,
    )
