"""Listing a directory: names in order, from the base and from the scratch, a batch at a time.

A listing goes on behind a *name*, so it is right whatever comes, goes or is saved meanwhile. The
kernel keeps a number instead: a hash of the name. The names it may come back with are remembered;
after long it is looked for in the directory.
"""

from collections import OrderedDict
from collections.abc import Iterator
from errno import EINVAL
from hashlib import blake2b
from typing import Final

from fossil_fs.node import Node
from fossil_fs.overlay.attributes import attributes
from fossil_fs.overlay.core import Overlay
from fossil_fs.scratch.records import GONE
from lib9.fuse.interface import Listed

BATCH_MAX: Final = 512  # names of one answer
PLACES_MAX: Final = 4096  # places in listings that are remembered
BATCHES_KEPT: Final = 16  # batches of the base: a listing comes back for the rest of one

Streamed = list[tuple[bytes, Node]]


def cookie_of(name: bytes) -> int:
    """Return the number that stands for the place behind a name; never 0."""
    return int.from_bytes(blake2b(name, digest_size=8).digest()) >> 2 or 1


class Listings:
    """The listings of a mount."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self._places: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._kept: OrderedDict[int, tuple[object, Streamed]] = OrderedDict()

    async def entries(self, directory: int, offset: int) -> Iterator[Listed]:
        """List from `offset` on; the iterator makes entries as it is asked for them."""
        after = await self._name_at(directory, offset) if offset else b""
        if self._overlay.is_gone(directory):
            return iter(())
        return self._entries(directory, await self._batch(directory, after))

    async def _name_at(self, directory: int, cookie: int) -> bytes:
        name = self._places.get((directory, cookie))
        after = b""
        while name is None:
            batch = await self._batch(directory, after)
            if not batch:
                raise OSError(EINVAL, "offset of a listing")
            name = next((found for found, _ in batch if cookie_of(found) == cookie), None)
            after = batch[-1][0]
        return name

    def _entries(self, directory: int, batch: list[tuple[bytes, Node | int]]) -> Iterator[Listed]:
        overlay = self._overlay
        before: tuple[int, int] | None = None
        for name, found in batch:
            changed = overlay.scratch.child(directory, name)
            if changed == GONE:
                continue  # removed since the batch was read
            if changed is not None:
                ino = changed
                overlay.table.see(ino, directory, name)
            elif isinstance(found, Node):
                ino = overlay.identify(directory, name, found)
            elif overlay.table.get(found) is not None:
                ino = found  # saved since
            else:
                continue
            place = directory, cookie_of(name)
            # the kernel comes back with the last entry that it took: this one or the one before
            self._places[place] = name
            self._places.move_to_end(place)
            if before is not None and len(self._places) > PLACES_MAX:
                self._places.popitem(last=False)
            before = place
            yield Listed(name, attributes(overlay, ino), place[1])

    async def _batch(self, directory: int, after: bytes) -> list[tuple[bytes, Node | int]]:
        """Return some names behind `after` in order, none only at the end."""
        overlay = self._overlay
        while True:
            base, complete = await self._base_batch(directory, after)
            limit = base[-1][0] if not complete else None
            merged: dict[bytes, Node | int] = dict(base)
            for name, ino in overlay.scratch.children(directory, after):
                if limit is not None and name > limit:
                    break
                if ino == GONE:
                    merged.pop(name, None)
                else:
                    merged[name] = ino
                    if complete and len(merged) >= BATCH_MAX:
                        break
            if merged or complete:
                return sorted(merged.items(), key=_name)
            after = base[-1][0]  # all of these names are gone

    async def _base_batch(self, directory: int, after: bytes) -> tuple[Streamed, bool]:
        """Return names of the base behind `after`, and whether there are no more."""
        overlay = self._overlay
        streams = overlay.streams(directory)
        if streams is None:
            return [], True
        kept = self._kept.get(directory)
        if kept is not None and kept[0] == streams:
            rest = [item for item in kept[1] if item[0] > after]
            if rest and kept[1][0][0] <= after:
                return rest, False
        batch = await overlay.base.entries(streams, after)
        self._kept[directory] = streams, batch
        self._kept.move_to_end(directory)
        if len(self._kept) > BATCHES_KEPT:
            self._kept.popitem(last=False)
        return batch, not batch


def _name(item: tuple[bytes, Node | int]) -> bytes:
    return item[0]
