"""A file system in front of others: it passes every request on, and changes what it overrides.

Nothing here is `async`: each request is handed over to the one coroutine that answers it.
"""

from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from lib9.fuse.interface import (
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


class Passing(Operations):
    """Passes on to `tree`, or to what else `_of` says has an inode."""

    def __init__(self, tree: Operations) -> None:
        self._tree = tree

    def _of(self, ino: int) -> Operations:
        return self._tree

    def lookup(self, parent: int, name: bytes, who: Caller) -> Answer[Attributes]:
        return self._of(parent).lookup(parent, name, who)

    def forget(self, ino: int, count: int) -> None:
        self._of(ino).forget(ino, count)

    def getattr(self, ino: int, who: Caller) -> Answer[Attributes]:
        return self._of(ino).getattr(ino, who)

    def setattr(self, ino: int, changes: Changes, handle: int, who: Caller) -> Answer[Attributes]:
        return self._of(ino).setattr(ino, changes, handle, who)

    def readlink(self, ino: int, who: Caller) -> Answer[bytes]:
        return self._of(ino).readlink(ino, who)

    def mknod(
        self, parent: int, name: bytes, mode: int, rdev: int, who: Caller
    ) -> Answer[Attributes]:
        return self._of(parent).mknod(parent, name, mode, rdev, who)

    def mkdir(self, parent: int, name: bytes, mode: int, who: Caller) -> Answer[Attributes]:
        return self._of(parent).mkdir(parent, name, mode, who)

    def symlink(self, parent: int, name: bytes, target: bytes, who: Caller) -> Answer[Attributes]:
        return self._of(parent).symlink(parent, name, target, who)

    def unlink(self, parent: int, name: bytes, who: Caller) -> Answer[None]:
        return self._of(parent).unlink(parent, name, who)

    def rmdir(self, parent: int, name: bytes, who: Caller) -> Answer[None]:
        return self._of(parent).rmdir(parent, name, who)

    def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int, who: Caller
    ) -> Answer[None]:
        return self._of(parent).rename(parent, name, new_parent, new_name, flags, who)

    def link(self, ino: int, new_parent: int, new_name: bytes, who: Caller) -> Answer[Attributes]:
        return self._of(ino).link(ino, new_parent, new_name, who)

    def open(self, ino: int, flags: int, who: Caller) -> Answer[OpenFile]:
        return self._of(ino).open(ino, flags, who)

    def create(
        self, parent: int, name: bytes, mode: int, flags: int, who: Caller
    ) -> Answer[tuple[OpenFile, Attributes]]:
        return self._of(parent).create(parent, name, mode, flags, who)

    def read(
        self, ino: int, handle: int, offset: int, size: int
    ) -> Answer[Buffer | Sequence[Buffer]]:
        return self._of(ino).read(ino, handle, offset, size)

    def write(self, ino: int, handle: int, offset: int, data: Buffer) -> Answer[int]:
        return self._of(ino).write(ino, handle, offset, data)

    def flush(self, ino: int, handle: int) -> Answer[None]:
        return self._of(ino).flush(ino, handle)

    def release(self, ino: int, handle: int) -> Answer[None]:
        return self._of(ino).release(ino, handle)

    def fsync(self, ino: int, handle: int, data_only: bool) -> Answer[None]:
        return self._of(ino).fsync(ino, handle, data_only)

    def opendir(self, ino: int, who: Caller) -> Answer[int]:
        return self._of(ino).opendir(ino, who)

    def readdir(self, ino: int, handle: int, offset: int, who: Caller) -> Answer[Iterable[Listed]]:
        return self._of(ino).readdir(ino, handle, offset, who)

    def listed(self, ino: int) -> None:
        self._of(ino).listed(ino)

    def releasedir(self, ino: int, handle: int) -> Answer[None]:
        return self._of(ino).releasedir(ino, handle)

    def fsyncdir(self, ino: int, handle: int, data_only: bool) -> Answer[None]:
        return self._of(ino).fsyncdir(ino, handle, data_only)

    def statfs(self, who: Caller) -> Answer[FsStats]:
        return self._tree.statfs(who)

    def getxattr(self, ino: int, name: bytes, who: Caller) -> Answer[bytes]:
        return self._of(ino).getxattr(ino, name, who)

    def setxattr(
        self, ino: int, name: bytes, value: bytes, flags: int, who: Caller
    ) -> Answer[None]:
        return self._of(ino).setxattr(ino, name, value, flags, who)

    def listxattr(self, ino: int, who: Caller) -> Answer[Sequence[bytes]]:
        return self._of(ino).listxattr(ino, who)

    def removexattr(self, ino: int, name: bytes, who: Caller) -> Answer[None]:
        return self._of(ino).removexattr(ino, name, who)

    def poll(self, ino: int, handle: int, events: int, poller: Poller | None) -> Answer[int]:
        return self._of(ino).poll(ino, handle, events, poller)

    def fallocate(self, ino: int, handle: int, offset: int, length: int, mode: int) -> Answer[None]:
        return self._of(ino).fallocate(ino, handle, offset, length, mode)

    def lseek(self, ino: int, handle: int, offset: int, whence: int) -> Answer[int]:
        return self._of(ino).lseek(ino, handle, offset, whence)

    def copy_file_range(
        self, source: int, source_offset: int, target: int, target_offset: int, length: int
    ) -> Answer[int]:
        return self._of(source).copy_file_range(
            source, source_offset, target, target_offset, length
        )

    def tmpfile(
        self, parent: int, mode: int, flags: int, who: Caller
    ) -> Answer[tuple[OpenFile, Attributes]]:
        return self._of(parent).tmpfile(parent, mode, flags, who)

    def destroy(self) -> Answer[None]:
        return self._tree.destroy()
