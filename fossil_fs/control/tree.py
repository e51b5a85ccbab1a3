"""Items as inodes: numbers above all of the overlay's, for as long as the kernel knows them.

Nothing here answers ENOSYS: the kernel would take it for an answer of the whole mount.
"""

import os
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from errno import ENODATA, ENXIO, EOPNOTSUPP, EPERM, ESTALE
from typing import Final, NoReturn

from fossil_fs.control.item import Item
from fossil_fs.scratch.records import INODE_END
from lib9.fuse.interface import (
    Attributes,
    Buffer,
    Caller,
    Changes,
    Listed,
    OpenFile,
    Operations,
)

TRANSIENT_MAX: Final = 1024  # items nobody holds that are kept: of listings still being answered


class _Numbers:
    """Which item has which number, and how often the kernel was told of it."""

    def __init__(self, top: Item) -> None:
        self._next = INODE_END + 1
        self._items: dict[int, Item] = {INODE_END: top}
        self._numbers: dict[Hashable, int] = {top.key: INODE_END}
        self._lookups: dict[int, int] = {INODE_END: 1}  # the top is never dropped
        self._transient: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def item(self, ino: int) -> Item:
        try:
            return self._items[ino]
        except KeyError:
            raise OSError(ESTALE, "inode") from None

    def number(self, item: Item) -> int:
        """Return the item's number, a new one where its key is not known."""
        ino = self._numbers.get(item.key)
        if ino is None:
            ino, self._next = self._next, self._next + 1
            self._numbers[item.key] = ino
            self._items[ino] = item
            item.taken()
            self._transient[ino] = None
            if len(self._transient) > TRANSIENT_MAX:
                self._drop(self._transient.popitem(last=False)[0])
        return ino

    def hold(self, ino: int) -> None:
        self._lookups[ino] = self._lookups.get(ino, 0) + 1
        self._transient.pop(ino, None)

    def forget(self, ino: int, count: int) -> None:
        left = self._lookups.get(ino, 0) - count
        if left > 0 or ino == INODE_END:
            self._lookups[ino] = max(left, 1)
            return
        self._lookups.pop(ino, None)
        if ino not in self._transient:
            self._drop(ino)

    def _drop(self, ino: int) -> None:
        item = self._items.pop(ino, None)
        if item is not None:
            item.dropped()
            if self._numbers.get(item.key) == ino:
                del self._numbers[item.key]


class ControlTree(Operations):
    """The file system below the control directory, `top`."""

    def __init__(self, top: Item) -> None:
        self._top = top
        self._numbers = _Numbers(top)

    def __len__(self) -> int:
        return len(self._numbers)

    def _found(self, item: Item) -> Attributes:
        ino = self._numbers.number(item)
        self._numbers.hold(ino)
        return self._about(ino)

    def _about(self, ino: int) -> Attributes:
        return replace(self._numbers.item(ino).about, ino=ino)

    def top(self) -> Attributes:
        """Return the attributes of the control directory: one lookup."""
        return self._found(self._top)

    async def lookup(self, parent: int, name: bytes, who: Caller) -> Attributes:
        return self._found(await self._numbers.item(parent).find(name))

    def forget(self, ino: int, count: int) -> None:
        self._numbers.forget(ino, count)

    async def getattr(self, ino: int, who: Caller) -> Attributes:
        return self._about(ino)

    async def setattr(self, ino: int, changes: Changes, handle: int, who: Caller) -> Attributes:
        """Cut a file; times are taken and dropped: the kernel sets them when it holds writes back."""
        item = self._numbers.item(ino)
        if item.refusal != EPERM or (changes.mode, changes.uid, changes.gid) != (None, None, None):
            self._refuse(ino)
        if changes.size is not None:
            item.truncate(changes.size)
        return self._about(ino)

    async def open(self, ino: int, flags: int, who: Caller) -> OpenFile:
        item = self._numbers.item(ino)
        item.open_for(flags)
        if flags & os.O_TRUNC:
            item.truncate(0)
        return OpenFile(direct_io=not item.cached)

    async def read(self, ino: int, handle: int, offset: int, size: int) -> Sequence[Buffer]:
        return await self._numbers.item(ino).read(offset, size)

    async def readlink(self, ino: int, who: Caller) -> bytes:
        return await self._numbers.item(ino).readlink()

    async def write(self, ino: int, handle: int, offset: int, data: Buffer) -> int:
        await self._numbers.item(ino).write(bytes(data))
        return len(data)

    async def fsync(self, ino: int, handle: int, data_only: bool) -> None:
        return

    async def fsyncdir(self, ino: int, handle: int, data_only: bool) -> None:
        return

    async def readdir(self, ino: int, handle: int, offset: int, who: Caller) -> Iterable[Listed]:
        entries = await self._numbers.item(ino).entries(offset)

        def listed() -> Iterator[Listed]:
            for name, item, after in entries:
                yield Listed(name, self._about(self._numbers.number(item)), after)

        return listed()

    def listed(self, ino: int) -> None:
        self._numbers.hold(ino)

    async def getxattr(self, ino: int, name: bytes, who: Caller) -> bytes:
        return await self._numbers.item(ino).xattr(name)

    async def listxattr(self, ino: int, who: Caller) -> Sequence[bytes]:
        return await self._numbers.item(ino).xattrs()

    async def lseek(self, ino: int, handle: int, offset: int, whence: int) -> int:
        """All bytes are data, and the end is a hole."""
        size = self._numbers.item(ino).about.size
        if offset >= size:
            raise OSError(ENXIO, "offset")
        return offset if whence == os.SEEK_DATA else size

    # what changes names or attributes

    def _refuse(self, ino: int) -> NoReturn:
        raise OSError(self._numbers.item(ino).refusal, "cannot be changed")

    async def mknod(
        self, parent: int, name: bytes, mode: int, rdev: int, who: Caller
    ) -> Attributes:
        self._refuse(parent)

    async def mkdir(self, parent: int, name: bytes, mode: int, who: Caller) -> Attributes:
        self._refuse(parent)

    async def symlink(self, parent: int, name: bytes, target: bytes, who: Caller) -> Attributes:
        self._refuse(parent)

    async def unlink(self, parent: int, name: bytes, who: Caller) -> None:
        self._refuse(parent)

    async def rmdir(self, parent: int, name: bytes, who: Caller) -> None:
        self._refuse(parent)

    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int, who: Caller
    ) -> None:
        self._refuse(parent)

    async def link(self, ino: int, new_parent: int, new_name: bytes, who: Caller) -> Attributes:
        self._refuse(new_parent)

    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, who: Caller
    ) -> tuple[OpenFile, Attributes]:
        self._refuse(parent)

    async def tmpfile(
        self, parent: int, mode: int, flags: int, who: Caller
    ) -> tuple[OpenFile, Attributes]:
        raise OSError(EOPNOTSUPP, "cannot be changed")

    async def setxattr(self, ino: int, name: bytes, value: bytes, flags: int, who: Caller) -> None:
        self._refuse(ino)

    async def removexattr(self, ino: int, name: bytes, who: Caller) -> None:
        raise OSError(ENODATA, "extended attribute")

    async def fallocate(self, ino: int, handle: int, offset: int, length: int, mode: int) -> None:
        self._refuse(ino)
