"""The file system as the engine wants it: each request goes to the part of the overlay that does it."""

import os
import stat
from collections.abc import Iterable, Sequence
from typing import Final

from fossil_fs.node import NO_OWNERS, Owners
from fossil_fs.overlay import reading
from fossil_fs.overlay.attributes import attributes, set_attributes
from fossil_fs.overlay.base import FAULT_SECONDS_MAX, Base
from fossil_fs.overlay.core import Overlay
from fossil_fs.overlay.listing import Listings
from fossil_fs.overlay.namespace import Namespace
from fossil_fs.overlay.openings import Openings
from fossil_fs.overlay.ranges import Ranges
from fossil_fs.overlay.save import Saver
from fossil_fs.overlay.tree import NAME_MAX
from fossil_fs.overlay.writing import Writer
from fossil_fs.overlay.xattrs import ExtendedAttributes
from fossil_fs.scratch.errors import ScratchForeign
from fossil_fs.scratch.scratch import Scratch
from fossil_fs.scratch.snapshots import Snapshots
from fossil_fs.snapshot import open_snapshot
from lib9.fuse.interface import (
    UNKNOWN_ID,
    Attributes,
    Buffer,
    Caller,
    Changes,
    FsStats,
    Listed,
    OpenFile,
    Operations,
)
from venti_store.interfaces import BlockStore

BLOCK: Final = 4096
INODE_ROOM: Final = 1024  # bytes of the scratch counted for a new inode in statfs
_FOR_WRITING: Final = 1  # the handle of what is open for that


class FossilFilesystem(Operations):
    """A mounted tree; made by `open_filesystem`."""

    def __init__(self, overlay: Overlay) -> None:
        self.overlay = overlay
        self.saver = Saver(overlay)
        self.snapshots = Snapshots(overlay.scratch)
        self._xattrs = ExtendedAttributes(overlay)
        self._names = Namespace(overlay, self._xattrs)
        self._writer = Writer(overlay)
        self._ranges = Ranges(overlay, self._writer)
        self._listings = Listings(overlay)
        self.openings = Openings()

    def _found(self, ino: int) -> Attributes:
        """Return the attributes of an inode that the kernel is told of: one lookup."""
        self.overlay.table.hold(ino)
        return attributes(self.overlay, ino)

    async def lookup(self, parent: int, name: bytes, who: Caller) -> Attributes:
        return self._found(await self.overlay.find(parent, name))

    def forget(self, ino: int, count: int) -> None:
        for known in self.overlay.table.forget(ino, count):
            self._names.forget(known.ino)
            self.openings.forget(known.ino)

    async def getattr(self, ino: int, who: Caller) -> Attributes:
        return attributes(self.overlay, ino)

    async def setattr(self, ino: int, changes: Changes, handle: int, who: Caller) -> Attributes:
        if changes.size is not None:
            await self._writer.truncate(ino, changes.size)
        if changes.beyond_size:
            set_attributes(self.overlay, ino, changes, who)
        if changes.mode is not None:
            await self._xattrs.follow_mode(ino)
        return attributes(self.overlay, ino)

    async def readlink(self, ino: int, who: Caller) -> bytes:
        return await reading.read_link(self.overlay, ino)

    async def mknod(
        self, parent: int, name: bytes, mode: int, rdev: int, who: Caller
    ) -> Attributes:
        return self._found(await self._names.make(parent, name, mode, who, rdev=rdev))

    async def mkdir(self, parent: int, name: bytes, mode: int, who: Caller) -> Attributes:
        mode = stat.S_IFDIR | stat.S_IMODE(mode)
        return self._found(await self._names.make(parent, name, mode, who))

    async def symlink(self, parent: int, name: bytes, target: bytes, who: Caller) -> Attributes:
        return self._found(await self._names.symlink(parent, name, target, who))

    async def unlink(self, parent: int, name: bytes, who: Caller) -> None:
        await self._names.unlink(parent, name)

    async def rmdir(self, parent: int, name: bytes, who: Caller) -> None:
        await self._names.rmdir(parent, name)

    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int, who: Caller
    ) -> None:
        await self._names.rename(parent, name, new_parent, new_name, flags)

    async def link(self, ino: int, new_parent: int, new_name: bytes, who: Caller) -> Attributes:
        await self._names.link(ino, new_parent, new_name)
        return self._found(ino)

    async def open(self, ino: int, flags: int, who: Caller) -> OpenFile:
        if flags & os.O_TRUNC:
            await self._writer.truncate(ino, 0)
        return self._opened(ino, flags)

    def _opened(self, ino: int, flags: int) -> OpenFile:
        if not flags & os.O_ACCMODE:
            return OpenFile()
        self.openings.begin(ino)
        return OpenFile(_FOR_WRITING)

    async def release(self, ino: int, handle: int) -> None:
        if handle == _FOR_WRITING:
            self.openings.end(ino)

    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, who: Caller
    ) -> tuple[OpenFile, Attributes]:
        mode = stat.S_IFREG | stat.S_IMODE(mode)
        made = self._found(await self._names.make(parent, name, mode, who))
        return self._opened(made.ino, flags), made

    async def tmpfile(
        self, parent: int, mode: int, flags: int, who: Caller
    ) -> tuple[OpenFile, Attributes]:
        mode = stat.S_IFREG | stat.S_IMODE(mode)
        made = self._found(self._names.unnamed(parent, mode, who))
        return self._opened(made.ino, flags), made

    async def read(self, ino: int, handle: int, offset: int, size: int) -> Sequence[Buffer]:
        return await reading.read(self.overlay, ino, offset, size)

    async def write(self, ino: int, handle: int, offset: int, data: Buffer) -> int:
        return await self._writer.write(ino, offset, data)

    async def fsync(self, ino: int, handle: int, data_only: bool) -> None:
        record = self.overlay.record(ino)
        layers = record.layers if record is not None else ()
        await self.overlay.scratch.fsync([layer.number for layer in layers])

    async def fsyncdir(self, ino: int, handle: int, data_only: bool) -> None:
        await self.overlay.scratch.fsync([])

    async def readdir(self, ino: int, handle: int, offset: int, who: Caller) -> Iterable[Listed]:
        return await self._listings.entries(ino, offset)

    def listed(self, ino: int) -> None:
        self.overlay.table.hold(ino)

    async def statfs(self, who: Caller) -> FsStats:
        scratch = self.overlay.scratch
        free = scratch.room()
        return FsStats(
            block_size=BLOCK,
            blocks=scratch.budget.data_max // BLOCK,
            blocks_free=free // BLOCK,
            blocks_available=free // BLOCK,
            files=scratch.budget.data_max // INODE_ROOM,
            files_free=free // INODE_ROOM,
            name_max=NAME_MAX,
        )

    async def getxattr(self, ino: int, name: bytes, who: Caller) -> bytes:
        return await self._xattrs.get(ino, name)

    async def setxattr(self, ino: int, name: bytes, value: bytes, flags: int, who: Caller) -> None:
        await self._xattrs.set(ino, name, value, flags)

    async def listxattr(self, ino: int, who: Caller) -> Sequence[bytes]:
        names = await self._xattrs.names(ino)
        if who.uid in (0, UNKNOWN_ID):
            return names
        return [name for name in names if not name.startswith(b"trusted.")]

    async def removexattr(self, ino: int, name: bytes, who: Caller) -> None:
        await self._xattrs.remove(ino, name)

    async def fallocate(self, ino: int, handle: int, offset: int, length: int, mode: int) -> None:
        await self._ranges.allocate(ino, offset, length, mode)

    async def lseek(self, ino: int, handle: int, offset: int, whence: int) -> int:
        return await self._ranges.seek(ino, offset, whence)

    async def copy_file_range(
        self, source: int, source_offset: int, target: int, target_offset: int, length: int
    ) -> int:
        return await self._ranges.copy(source, source_offset, target, target_offset, length)


async def open_filesystem(
    store: BlockStore,
    scratch: Scratch,
    *,
    owners: Owners = NO_OWNERS,
    fault_seconds: float = FAULT_SECONDS_MAX,
) -> FossilFilesystem:
    """Return the file system of a scratch and the base it stands on.

    Raises as `open_snapshot`; ScratchForeign when the scratch is of a store of another hash.
    """
    family = store.family
    if scratch.identity.family != family.name:
        raise ScratchForeign(f"the scratch is for a {scratch.identity.family} store")
    snapshot = await open_snapshot(store, family.parse(scratch.base), owners=owners)
    base = Base(store, owners=owners, fault_seconds=fault_seconds)
    base.use_links(snapshot.link_streams)
    return FossilFilesystem(Overlay(scratch, base, snapshot))
