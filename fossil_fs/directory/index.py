"""Where each name of a directory is, for archives in which names are in no order.

vac and fossil sort names within a block only, so that a lookup may need every block. All are read
once, and the places kept as long as the Directory is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fossil_fs.directory.meta import MetaStream
from fossil_fs.format.names import check_name
from lib9.waiting import checkpoint
from venti_store.errors import BadTree

NAMES_MAX: Final = 1 << 20  # names of one unordered directory: about 150 MB of memory
BLOCKS_MAX: Final = 1 << 16  # blocks of its meta stream, which may be less than full
_BLOCKS_AT_ONCE: Final = 16

Place = tuple[int, int]  # block of the meta stream, position in its index


@dataclass(frozen=True, slots=True)
class Index:
    """All names, ascending, and the place of each."""

    names: list[bytes]
    places: dict[bytes, Place]


async def build_index(meta: MetaStream, bad: Callable[[bytes, BadTree], None]) -> Index:
    """Read every block; of a name that stands twice the first counts, the others go to `bad`."""
    places: dict[bytes, Place] = {}
    if meta.count > BLOCKS_MAX:
        raise BadTree(f"{meta.count} blocks in a directory without order: at most {BLOCKS_MAX}")
    for first in range(0, meta.count, _BLOCKS_AT_ONCE):
        await checkpoint()  # it may take seconds
        for number, block in enumerate(await meta.blocks(first, _BLOCKS_AT_ONCE), first):
            for position in range(len(block.slots)):
                try:
                    name = check_name(block.name(position))
                    if places.setdefault(name, (number, position)) != (number, position):
                        bad(name, BadTree("the name stands twice in its directory"))
                except BadTree as error:
                    bad(b"", error)
        if len(places) > NAMES_MAX:
            raise BadTree(f"more than {NAMES_MAX} names in a directory without order")
    return Index(sorted(places), places)
