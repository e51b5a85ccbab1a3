"""A file system whose ids are seen shifted: for environments where the kernel cannot map ids on a mount."""

from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from fossil_fs.ids import Shift
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
    Poller,
)

T = TypeVar("T")
Answer = Coroutine[Any, Any, T]


class Shifted(Operations):
    """`tree`, seen from outside. What is stored stays unshifted.

    Who has no number inside - the machine's root, too - may look, as far as modes let them, and make nothing.
    """

    def __init__(self, tree: Operations, shift: Shift) -> None:
        self._tree = tree
        self._shift = shift

    def _out(self, attributes: Attributes) -> Attributes:
        out = self._shift.out
        return replace(attributes, uid=out(attributes.uid), gid=out(attributes.gid))

    def _looker(self, who: Caller) -> Caller:
        """Return who only looks: with numbers inside as far as there are any."""
        try:
            return self._maker(who)
        except OSError:
            return replace(who, uid=UNKNOWN_ID, gid=UNKNOWN_ID)

    def _maker(self, who: Caller) -> Caller:
        """Return who makes something; OSError EOVERFLOW for who has no number inside."""
        return replace(who, uid=self._shift.into(who.uid), gid=self._shift.into(who.gid))

    async def lookup(self, parent: int, name: bytes, who: Caller) -> Attributes:
        return self._out(await self._tree.lookup(parent, name, self._looker(who)))

    async def getattr(self, ino: int, who: Caller) -> Attributes:
        return self._out(await self._tree.getattr(ino, self._looker(who)))

    async def setattr(self, ino: int, changes: Changes, handle: int, who: Caller) -> Attributes:
        into = self._shift.into
        inside = replace(
            changes,
            uid=None if changes.uid is None else into(changes.uid),
            gid=None if changes.gid is None else into(changes.gid),
        )
        return self._out(await self._tree.setattr(ino, inside, handle, self._looker(who)))

    async def mknod(
        self, parent: int, name: bytes, mode: int, rdev: int, who: Caller
    ) -> Attributes:
        return self._out(await self._tree.mknod(parent, name, mode, rdev, self._maker(who)))

    async def mkdir(self, parent: int, name: bytes, mode: int, who: Caller) -> Attributes:
        return self._out(await self._tree.mkdir(parent, name, mode, self._maker(who)))

    async def symlink(self, parent: int, name: bytes, target: bytes, who: Caller) -> Attributes:
        return self._out(await self._tree.symlink(parent, name, target, self._maker(who)))

    async def link(self, ino: int, new_parent: int, new_name: bytes, who: Caller) -> Attributes:
        return self._out(await self._tree.link(ino, new_parent, new_name, self._looker(who)))

    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, who: Caller
    ) -> tuple[OpenFile, Attributes]:
        file, made = await self._tree.create(parent, name, mode, flags, self._maker(who))
        return file, self._out(made)

    async def tmpfile(
        self, parent: int, mode: int, flags: int, who: Caller
    ) -> tuple[OpenFile, Attributes]:
        file, made = await self._tree.tmpfile(parent, mode, flags, self._maker(who))
        return file, self._out(made)

    async def readdir(self, ino: int, handle: int, offset: int, who: Caller) -> Iterable[Listed]:
        listing = await self._tree.readdir(ino, handle, offset, self._looker(who))
        return (replace(each, attributes=self._out(each.attributes)) for each in listing)

    async def getxattr(self, ino: int, name: bytes, who: Caller) -> bytes:
        return self._shift.value_out(name, await self._tree.getxattr(ino, name, self._looker(who)))

    async def setxattr(self, ino: int, name: bytes, value: bytes, flags: int, who: Caller) -> None:
        inside = self._shift.value_into(name, value)
        await self._tree.setxattr(ino, name, inside, flags, self._looker(who))

    async def listxattr(self, ino: int, who: Caller) -> Sequence[bytes]:
        return await self._tree.listxattr(ino, self._looker(who))

    async def removexattr(self, ino: int, name: bytes, who: Caller) -> None:
        await self._tree.removexattr(ino, name, self._looker(who))

    # not `async`: each hands over to the one coroutine that answers; no ids are in them

    def forget(self, ino: int, count: int) -> None:
        self._tree.forget(ino, count)

    def listed(self, ino: int) -> None:
        self._tree.listed(ino)

    def readlink(self, ino: int, who: Caller) -> Answer[bytes]:
        return self._tree.readlink(ino, who)

    def unlink(self, parent: int, name: bytes, who: Caller) -> Answer[None]:
        return self._tree.unlink(parent, name, self._looker(who))

    def rmdir(self, parent: int, name: bytes, who: Caller) -> Answer[None]:
        return self._tree.rmdir(parent, name, self._looker(who))

    def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int, who: Caller
    ) -> Answer[None]:
        looker = self._looker(who)
        return self._tree.rename(parent, name, new_parent, new_name, flags, looker)

    def open(self, ino: int, flags: int, who: Caller) -> Answer[OpenFile]:
        return self._tree.open(ino, flags, self._looker(who))

    def read(
        self, ino: int, handle: int, offset: int, size: int
    ) -> Answer[Buffer | Sequence[Buffer]]:
        return self._tree.read(ino, handle, offset, size)

    def write(self, ino: int, handle: int, offset: int, data: Buffer) -> Answer[int]:
        return self._tree.write(ino, handle, offset, data)

    def flush(self, ino: int, handle: int) -> Answer[None]:
        return self._tree.flush(ino, handle)

    def release(self, ino: int, handle: int) -> Answer[None]:
        return self._tree.release(ino, handle)

    def fsync(self, ino: int, handle: int, data_only: bool) -> Answer[None]:
        return self._tree.fsync(ino, handle, data_only)

    def opendir(self, ino: int, who: Caller) -> Answer[int]:
        return self._tree.opendir(ino, self._looker(who))

    def releasedir(self, ino: int, handle: int) -> Answer[None]:
        return self._tree.releasedir(ino, handle)

    def fsyncdir(self, ino: int, handle: int, data_only: bool) -> Answer[None]:
        return self._tree.fsyncdir(ino, handle, data_only)

    def statfs(self, who: Caller) -> Answer[FsStats]:
        return self._tree.statfs(who)

    def poll(self, ino: int, handle: int, events: int, poller: Poller | None) -> Answer[int]:
        return self._tree.poll(ino, handle, events, poller)

    def fallocate(self, ino: int, handle: int, offset: int, length: int, mode: int) -> Answer[None]:
        return self._tree.fallocate(ino, handle, offset, length, mode)

    def lseek(self, ino: int, handle: int, offset: int, whence: int) -> Answer[int]:
        return self._tree.lseek(ino, handle, offset, whence)

    def copy_file_range(
        self, source: int, source_offset: int, target: int, target_offset: int, length: int
    ) -> Answer[int]:
        return self._tree.copy_file_range(source, source_offset, target, target_offset, length)

    def destroy(self) -> Answer[None]:
        return self._tree.destroy()
