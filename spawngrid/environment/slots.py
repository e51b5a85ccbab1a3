"""Slots: what an environment gets of the numbers that all share. Pure.

Each has 65,536 user ids of its own and a network of four addresses. A node has 256 slots, in one of 32
blocks that follows from its run directory, so two nodes on one machine are rarely in each other's way.
"""

from collections.abc import Iterable
from typing import Final

SLOTS_MAX: Final = 256  # environments on a node
_BLOCKS: Final = 32
IDS: Final = 65536
IDS_FIRST: Final = (
    0x4000_0000  # clear of users, subuids and systemd's own ranges (systemd: UIDS-GIDS)
)
_NETWORK: Final = 10 << 24 | 213 << 16


def first_slot(key: str) -> int:
    """Return the first slot of the node whose names carry `key`."""
    return int(key, 16) % _BLOCKS * SLOTS_MAX


def free_slot(key: str, used: Iterable[int]) -> int | None:
    """Return the lowest slot of this node that nobody has; None if there is none left."""
    taken, first = set(used), first_slot(key)
    return next((slot for slot in range(first, first + SLOTS_MAX) if slot not in taken), None)


def first_id(slot: int) -> int:
    """Return the machine's number for user 0 (and group 0) of an environment."""
    return IDS_FIRST + slot * IDS


def addresses(slot: int) -> tuple[str, str]:
    """Return the gateway's and the environment's address in a network of 30 bits."""
    network = _NETWORK + slot * 4
    return _dotted(network + 1), _dotted(network + 2)


def network(key: str) -> str:
    """Return the network that all of a node's environments are in, as `10.213.N.0/22`."""
    return f"{_dotted(_NETWORK + first_slot(key) * 4)}/22"


def _dotted(address: int) -> str:
    return ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))
