"""What stands in the control directory: items, each as it was when it was looked up.

An item does not change while the kernel knows it: what changes is looked up anew as another item,
with an inode number of its own. So a reader sees one state from beginning to end, lengths are true,
and no cache of the kernel's can be wrong.
"""

import stat
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from errno import EINVAL, EISDIR, ENODATA, ENOENT, ENOTDIR, EPERM

from lib9.fuse.interface import Attributes, Buffer

Make = Callable[[], Awaitable["Item"]]


class Item:
    """A file, directory or symlink. Two items with the same `key` are one inode.

    `about`: its attributes; the tree puts in the inode number. `refusal`: the errno of what would
    change it. `cached`: the kernel may keep its bytes.
    """

    refusal = EPERM
    cached = False

    def __init__(self, key: Hashable, about: Attributes) -> None:
        self.key = key
        self.about = about

    def taken(self) -> None:
        """The kernel is to know the item."""

    def dropped(self) -> None:
        """The kernel has forgotten it."""

    def open_for(self, flags: int) -> None:
        """Refuse what open(2) may not be called for, where the kernel asks at all."""

    async def find(self, name: bytes) -> "Item":
        """Return what a directory has under a name; OSError ENOENT."""
        raise OSError(ENOTDIR, "not a directory")

    async def entries(self, offset: int) -> Iterable[tuple[bytes, "Item", int]]:
        """List a directory from `offset` (0: the start): name, item, where the listing goes on."""
        raise OSError(ENOTDIR, "not a directory")

    async def read(self, offset: int, size: int) -> Sequence[Buffer]:
        raise OSError(EISDIR if stat.S_ISDIR(self.about.mode) else EINVAL, "no regular file")

    async def readlink(self) -> bytes:
        raise OSError(EINVAL, "not a symlink")

    def truncate(self, size: int) -> None:
        """Cut a file that takes commands; its answer is gone."""
        raise OSError(EPERM, "cannot be changed")

    async def write(self, data: bytes) -> None:
        """Take the bytes of one write(2), wherever in the file it was."""
        raise OSError(EPERM, "cannot be changed")

    async def xattr(self, name: bytes) -> bytes:
        raise OSError(ENODATA, "extended attribute")

    async def xattrs(self) -> Sequence[bytes]:
        return ()


class Text(Item):
    """A file with these bytes, read only."""

    def __init__(self, key: Hashable, content: bytes, about: Attributes) -> None:
        super().__init__(key, about)
        self.content = content
        about.size = len(content)
        about.blocks = -(-len(content) // 512)

    async def read(self, offset: int, size: int) -> Sequence[Buffer]:
        return [self.content[offset : offset + size]]


class Folder(Item):
    """A directory of a few names, each with a function that makes its item when it is looked up."""

    def __init__(self, key: Hashable, about: Attributes) -> None:
        super().__init__(key, about)
        self._makers: dict[bytes, Make] = {}

    def put(self, name: bytes, make: Make) -> None:
        """Let `name` be what `make` returns at the time."""
        self._makers[name] = make

    async def find(self, name: bytes) -> Item:
        make = self._makers.get(name)
        if make is None:
            raise OSError(ENOENT, "no such name")
        return await make()

    async def entries(self, offset: int) -> Iterable[tuple[bytes, Item, int]]:
        names = list(enumerate(sorted(self._makers), 1))
        return [(name, await self._makers[name](), at) for at, name in names if at > offset]
