"""Whom this node replicates with: the records of the ndb file that say `replicate=`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lib9.errors import UsageError
from ndbdb.record import Record
from replicator.positions import Direction

_WAYS = {
    "": (Direction.PULL,),
    "pull": (Direction.PULL,),
    "push": (Direction.PUSH,),
    "both": (Direction.PULL, Direction.PUSH),
}


@dataclass(frozen=True, slots=True)
class PeerNode:
    """A node that is followed, or gets what we have. `name` is its file's, too: NAME.info."""

    name: str
    address: str
    ways: tuple[Direction, ...]


def peer_nodes(records: Iterable[Record]) -> list[PeerNode]:
    """Return the peers: `sys=NAME dial=ADDRESS replicate=pull`, or push, or both; no value is pull.

    The first `dial=` counts. UsageError for a record that makes no sense.
    """
    found: dict[str, PeerNode] = {}
    for record in records:
        pairs = [(pair.attr, pair.value) for pair in record.pairs()]
        values = dict(reversed(pairs))
        way = values.get("replicate")
        if way is None:
            continue
        name, address = values.get("sys", ""), values.get("dial", "")
        if not name or not address or way not in _WAYS or "/" in name or name in found:
            raise UsageError(
                f"sys={name} dial={address} replicate={way}: a peer has one record with a name, an"
                " address, and replicate= pull, push or both"
            )
        found[name] = PeerNode(name, address, _WAYS[way])
    return list(found.values())
