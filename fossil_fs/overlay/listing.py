"""Listing a directory: names in order, from the base and from the scratch, a batch at a time.

A listing goes on behind a *name*, so it is right whatever comes, goes or is saved meanwhile. The
kernel keeps a number instead: a hash of the name. The names it may come back with are remembered;
after long it is looked for in the directory.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from errno import EINVAL
from hashlib import blake2b
from typing import Final, NamedTuple

from fossil_fs.links import Links
from fossil_fs.node import Node
from fossil_fs.overlay.attributes import attributes, of_node
from fossil_fs.overlay.base import Streams
from fossil_fs.overlay.tree import Tree
from fossil_fs.scratch.records import GONE
from lib9.fuse.interface import Listed

BATCH_MAX: Final = 512  # names of one answer
PLACES_MAX: Final = 4096  # places in listings that are remembered
BATCHES_KEPT: Final = 16  # batches of the base: a listing comes back for the rest of one

Streamed = list[tuple[bytes, Node]]


def cookie_of(name: bytes) -> int:
    """Return the number that stands for the place behind a name; never 0."""
    return int.from_bytes(blake2b(name, digest_size=8).digest()) >> 2 or 1


class _Kept(NamedTuple):
    """Names of a directory's base behind `after`; all of them if `complete`.

    `links`: those that linked files were found through; a save that changed such a file made others.
    """

    streams: Streams
    links: Links | None
    after: bytes
    names: Streamed
    complete: bool


class Listings:
    """The listings of a tree."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._places: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._kept: OrderedDict[int, _Kept] = OrderedDict()

    async def entries(self, directory: int, offset: int) -> Iterator[Listed]:
        """List from `offset` on; the iterator makes entries as it is asked for them."""
        after = await self._name_at(directory, offset) if offset else b""
        if self._tree.is_gone(directory):
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
        tree = self._tree
        before: tuple[int, int] | None = None
        has_changes = tree.record(directory) is not None
        for name, found in batch:
            changed = tree.state.child(directory, name) if has_changes else None
            if changed == GONE:
                continue  # removed since the batch was read
            if changed is not None:
                tree.table.see(changed, directory, name)
                about = attributes(tree, changed)
            elif isinstance(found, Node):
                known = tree.identify(directory, name, found)
                about = (
                    of_node(known, found) if known.node is found else attributes(tree, known.ino)
                )
            elif tree.table.get(found) is not None:
                about = attributes(tree, found)  # saved since
            else:
                continue
            place = directory, cookie_of(name)
            # the kernel comes back with the last entry that it took: this one or the one before
            self._places[place] = name
            self._places.move_to_end(place)
            if before is not None and len(self._places) > PLACES_MAX:
                self._places.popitem(last=False)
            before = place
            yield Listed(name, about, place[1])

    async def _batch(self, directory: int, after: bytes) -> list[tuple[bytes, Node | int]]:
        """Return some names behind `after` in order, none only at the end."""
        tree = self._tree
        while True:
            base, complete = await self._base_batch(directory, after)
            limit = base[-1][0] if not complete else None
            merged: dict[bytes, Node | int] = dict(base)
            for name, ino in tree.state.children(directory, after):
                if limit is not None and name > limit:
                    break
                if ino == GONE:
                    merged.pop(name, None)
                else:
                    merged[name] = ino
                    if complete and len(merged) >= len(base) + BATCH_MAX:
                        merged = {known: at for known, at in merged.items() if known <= name}
                        break
            if merged or complete:
                return sorted(merged.items(), key=_name)
            after = base[-1][0]  # all of these names are gone

    async def _base_batch(self, directory: int, after: bytes) -> tuple[Streamed, bool]:
        """Return names of the base behind `after`, and whether there are no more."""
        tree = self._tree
        while True:
            streams, links = tree.streams(directory), tree.base.links
            if streams is None:
                return [], True
            kept = self._kept.get(directory)
            if kept is not None and (kept.streams, kept.links) == (streams, links):
                rest = kept.names[bisect_right(kept.names, after, key=_name) :]
                if kept.after <= after and (rest or kept.complete):
                    return rest, kept.complete
            names, complete = await tree.base.entries(streams, after)
            if (tree.streams(directory), tree.base.links) == (streams, links):
                break  # else a save came in between, and some of these are of before
        self._kept[directory] = _Kept(streams, links, after, names, complete)
        self._kept.move_to_end(directory)
        if len(self._kept) > BATCHES_KEPT:
            self._kept.popitem(last=False)
        return names, complete


def _name(item: tuple[bytes, object]) -> bytes:
    return item[0]
