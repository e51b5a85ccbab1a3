"""Trees that only can be read, in the control directory: snapshots and saved roots, by date."""

import os
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from errno import ENOENT, EROFS
from typing import Final

from fossil_fs.control.item import Item
from fossil_fs.overlay import reading
from fossil_fs.overlay.attributes import attributes
from fossil_fs.overlay.listing import Listings
from fossil_fs.overlay.tree import Tree
from fossil_fs.overlay.xattrs import xattr, xattr_names
from fossil_fs.scratch.records import ROOT
from lib9.fuse.interface import Attributes, Buffer

KEEP_SECONDS: Final = 60.0  # attributes never change, but a snapshot may be dropped
Make = Callable[[], Awaitable[Item]]


class PastView:
    """A tree of the past. `need` raises OSError when it is gone; `key` tells it from others."""

    def __init__(self, key: Hashable, tree: Tree, need: Callable[[], None]) -> None:
        self.key = key
        self.tree = tree
        self.need = need
        self.listings = Listings(tree)

    def root(self) -> Item:
        return PastItem(self, ROOT)


class PastItem(Item):
    """A file, directory or symlink of a tree of the past, with the permissions it has there."""

    refusal = EROFS
    cached = True

    def __init__(self, view: PastView, ino: int) -> None:
        about = attributes(view.tree, ino)
        about.keep_seconds = KEEP_SECONDS
        super().__init__((view.key, ino), about)
        self._view = view
        self._ino = ino

    def taken(self) -> None:
        self._view.tree.table.hold(self._ino)

    def dropped(self) -> None:
        self._view.tree.table.forget(self._ino, 1)

    async def find(self, name: bytes) -> Item:
        self._view.need()
        return PastItem(self._view, await self._view.tree.find(self._ino, name))

    async def entries(self, offset: int) -> Iterable[tuple[bytes, Item, int]]:
        self._view.need()
        view = self._view
        found = await view.listings.entries(self._ino, offset)
        return ((one.name, PastItem(view, one.attributes.ino), one.offset) for one in found)

    async def read(self, offset: int, size: int) -> Sequence[Buffer]:
        self._view.need()
        return await reading.read(self._view.tree, self._ino, offset, size)

    async def readlink(self) -> bytes:
        self._view.need()
        return await reading.read_link(self._view.tree, self._ino)

    async def xattr(self, name: bytes) -> bytes:
        self._view.need()
        return await xattr(self._view.tree, self._ino, name)

    async def xattrs(self) -> Sequence[bytes]:
        self._view.need()
        return await xattr_names(self._view.tree, self._ino)

    def truncate(self, size: int) -> None:
        raise OSError(EROFS, "of the past")

    async def write(self, data: bytes) -> None:
        raise OSError(EROFS, "of the past")

    def open_for(self, flags: int) -> None:
        if flags & (os.O_ACCMODE | os.O_TRUNC):
            raise OSError(EROFS, "of the past")


class Dates(Item):
    """A directory of paths such as `2026/1126/0348`, one level at a time."""

    refusal = EROFS

    def __init__(self, key: Hashable, about: Attributes, paths: Mapping[bytes, Make]) -> None:
        super().__init__((key, tuple(sorted(paths))), about)
        self._name = key
        self._below: dict[bytes, dict[bytes, Make]] = {}
        for path, make in paths.items():
            first, _, rest = path.partition(b"/")
            self._below.setdefault(first, {})[rest] = make

    async def find(self, name: bytes) -> Item:
        below = self._below.get(name)
        if below is None:
            raise OSError(ENOENT, "no such name")
        if b"" in below:
            return await below[b""]()
        return Dates((self._name, name), self.about, below)

    async def entries(self, offset: int) -> Iterable[tuple[bytes, Item, int]]:
        names = list(enumerate(sorted(self._below), 1))
        return [(name, await self.find(name), at) for at, name in names if at > offset]
