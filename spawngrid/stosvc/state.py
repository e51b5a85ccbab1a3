"""What a storage node knows: its users' environments, and the cpu nodes that have said something.

Pure. The record of an environment is one file, `environments/ID`, that anyone may read as ndb.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from ndbdb.record import Record
from spawngrid.files import record_of

State = Literal["starting", "running", "ended", "booming", "lost"]
STATES: Final[tuple[State, ...]] = ("starting", "running", "ended", "booming", "lost")

SILENCE_SECONDS_MAX: Final = 20.0  # a node that says nothing for so long is away


@dataclass(frozen=True, slots=True)
class Environment:
    """`id` is the request that spawned it; `alias` is what its user calls it."""

    id: str
    user: str
    alias: str
    name: str
    score: str
    node: str
    state: State
    time: int
    options: Mapping[str, str] = field(default_factory=dict)
    invited: tuple[str, ...] = ()
    reason: str = ""

    def to_bytes(self) -> bytes:
        """Return the contents of its file."""
        head = [("environment", self.id), ("user", self.user), ("as", self.alias)]
        what = [("name", self.name), ("score", self.score)]
        where = [("node", self.node), ("state", self.state), ("time", str(self.time))]
        why = [("reason", self.reason.replace('"', "'"))] if self.reason else []
        options = [(f"o-{attr}", value) for attr, value in self.options.items()]
        return record_of(head, what, where + why, options, [("invited", i) for i in self.invited])


def environment_of(record: Record) -> Environment:
    """Return the environment that a file describes; MissingAttribute."""
    stated = record.need("state")
    state: State = next((s for s in STATES if s == stated), "lost")
    return Environment(
        id=record.need("environment"),
        user=record.need("user"),
        alias=record.need("as"),
        name=record.need("name"),
        score=record.need("score"),
        node=record.need("node"),
        state=state,
        time=int(record.get("time") or 0),
        options={p.attr[2:]: p.value for p in record.pairs() if p.attr.startswith("o-")},
        invited=tuple(record.all("invited")),
        reason=record.get("reason") or "",
    )


@dataclass(slots=True)
class Node:
    """A cpu node as it described itself last, at `seen` (seconds of a steady clock)."""

    name: str
    free: int
    total: int
    dial: str
    key: str
    seen: float
    environments: Mapping[str, str] = field(default_factory=dict)

    def here(self, now: float) -> bool:
        return now - self.seen < SILENCE_SECONDS_MAX


@dataclass(frozen=True, slots=True)
class Named:
    """A name that a user may use: the whole of it, and when and where it was given."""

    name: str
    score: str
    time: int
    node: str = ""
    owner: str = ""


class Names(Protocol):
    """What the dispatcher asks of the names."""

    def find(self, user: str, name: str) -> Named | None:
        """Return what `name` means for `user` now: NAME, NAME~N or NAME.NONCE."""
        ...

    def visible(self, user: str) -> list[Named]:
        """Return all that `user` may use, oldest first."""
        ...
