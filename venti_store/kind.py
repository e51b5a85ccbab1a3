"""Block types, by the numbers they have on disk and on the wire (venti(6)).

A store's key is score and `Kind`. The numbers libventi uses in memory (the pointer blocks of data
and of directories told apart) appear only where people see them: `venti read -t`, error texts.
"""

from enum import IntEnum
from typing import Final


class Kind(IntEnum):
    """A block's type as stored. A pointer block of level n is `POINTER1 + n - 1`, n from 1 to 7."""

    ROOT = 1
    DIRECTORY = 2
    POINTER1 = 3
    POINTER2 = 4
    POINTER3 = 5
    POINTER4 = 6
    POINTER5 = 7
    POINTER6 = 8
    POINTER7 = 9
    DATA = 13


DEPTH_MAX: Final = 7  # levels of pointer blocks above the leaves
BLOCK_SIZE_MAX: Final = 1 << 20  # bytes in any block of a native store
BLOCK_SIZE_MAX_CLASSIC: Final = 56 << 10  # what every real venti server takes

_MEMORY = {Kind.ROOT: 16, Kind.DIRECTORY: 8, Kind.DATA: 0}


def pointer(level: int) -> Kind:
    """Return the kind of a pointer block `level` levels above the leaves, 1 to 7."""
    return Kind(Kind.POINTER1 + level - 1)


def level(kind: Kind) -> int:
    """Return how many levels above the leaves a block of this kind stands; 0 for leaves and roots."""
    return kind - Kind.POINTER1 + 1 if Kind.POINTER1 <= kind <= Kind.POINTER7 else 0


def to_memory(kind: Kind) -> int:
    """Return libventi's number in memory; pointers give the directory form, 9 to 15."""
    number = _MEMORY.get(kind)
    return number if number is not None else 8 + level(kind)


def from_memory(number: int) -> Kind:
    """Return the kind for libventi's number in memory, 0 to 16; ValueError for any other."""
    if number == 16:
        return Kind.ROOT
    if not 0 <= number < 16:
        raise ValueError(f"no block type {number}")
    if number % 8 == 0:
        return Kind.DIRECTORY if number else Kind.DATA
    return pointer(number % 8)
