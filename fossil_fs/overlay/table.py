"""The inodes that the kernel knows: how it may ask for them again, and nothing more.

An entry costs less than 1 KiB and goes when the kernel forgets the inode. An entry holds its
directory's entry, so that the way up to the root is always there.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from fossil_fs.node import Node
from fossil_fs.scratch.records import NOT_COUNTED, ROOT

TRANSIENT_MAX: Final = 1024  # entries nobody holds that are kept: of lookups still being answered


class Known:
    """An inode in use. `node`: what the base says of it, None where the scratch has a record.

    `gone`: its last name was removed. `offset`: what a directory of the base adds to qids.
    """

    __slots__ = ("gone", "ino", "lookups", "name", "node", "offset", "parent", "pins", "subdirs")

    def __init__(self, ino: int, parent: int, name: bytes) -> None:
        self.ino = ino
        self.parent = parent
        self.name = name
        self.node: Node | None = None
        self.lookups = 0
        self.pins = 0
        self.gone = False
        self.offset = 0
        self.subdirs = NOT_COUNTED

    @property
    def held(self) -> bool:
        return self.lookups > 0 or self.pins > 0 or self.ino == ROOT


class Table:
    """All entries by inode number; the root's is always there."""

    def __init__(self) -> None:
        self._known: dict[int, Known] = {ROOT: Known(ROOT, ROOT, b"")}
        self._transient: OrderedDict[int, None] = OrderedDict()
        self.aliases: dict[tuple[int, bytes], int] = {}  # places whose qid another inode has
        self._alias_of: dict[int, tuple[int, bytes]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Known]:
        return iter(self._known.values())

    def get(self, ino: int) -> Known | None:
        return self._known.get(ino)

    def root(self) -> Known:
        return self._known[ROOT]

    def path(self, ino: int) -> bytes | None:
        """Return the way from the root to where an inode was last seen, None if that name is gone."""
        names: list[bytes] = []
        while ino != ROOT:
            known = self._known.get(ino)
            if known is None or known.gone:
                return None
            names.append(known.name)
            ino = known.parent
        return b"/".join(reversed(names))

    def see(self, ino: int, parent: int, name: bytes) -> Known:
        """Return the entry of an inode that was found under this name; make it if need be."""
        known = self._known.get(ino)
        if known is None:
            known = self._known[ino] = Known(ino, parent, name)
            self._pin(parent)
            self._transient[ino] = None
            if len(self._transient) > TRANSIENT_MAX:
                self._shed()
        else:
            self.move(known, parent, name)
        return known

    def move(self, known: Known, parent: int, name: bytes) -> None:
        """Note that an inode is under another name now."""
        known.name = name
        if known.parent != parent and known.ino != ROOT:
            old, known.parent = known.parent, parent
            self._pin(parent)
            self._unpin(old)

    def alias(self, place: tuple[int, bytes], ino: int) -> None:
        """Note that the inode at `place` has a number of its own as long as it is known."""
        self.aliases[place] = ino
        self._alias_of[ino] = place

    def hold(self, ino: int) -> None:
        """Count one lookup of the kernel's."""
        self._known[ino].lookups += 1
        self._transient.pop(ino, None)

    def forget(self, ino: int, count: int) -> list[Known]:
        """Take back lookups; return the entries that are dropped for it."""
        known = self._known.get(ino)
        if known is None:
            return []
        known.lookups = max(0, known.lookups - count)
        return self._drop_unheld(known)

    def _pin(self, ino: int) -> None:
        known = self._known.get(ino)
        if known is not None:
            known.pins += 1

    def _unpin(self, ino: int) -> None:
        known = self._known.get(ino)
        if known is not None and known.pins > 0:
            known.pins -= 1
            if not known.held and ino not in self._transient:
                self._drop_unheld(known)

    def _drop_unheld(self, known: Known) -> list[Known]:
        dropped = []
        while not known.held and self._known.pop(known.ino, None) is not None:
            self._transient.pop(known.ino, None)
            place = self._alias_of.pop(known.ino, None)
            if place is not None:
                self.aliases.pop(place, None)
            dropped.append(known)
            above = self._known.get(known.parent)
            if above is None:
                break
            above.pins = max(0, above.pins - 1)
            if above.ino in self._transient:
                break
            known = above
        return dropped

    def _shed(self) -> None:
        """Drop the older half of the entries that nobody holds."""
        for ino in list(self._transient)[: TRANSIENT_MAX // 2]:
            del self._transient[ino]
            known = self._known.get(ino)
            if known is not None:
                self._drop_unheld(known)
