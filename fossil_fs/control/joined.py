"""The tree and its control directory as one file system, told apart by inode number.

A request costs one comparison more. The control directory is under its name in the root unless the
tree has that name itself; listings do not show it.
"""

from collections.abc import Coroutine, Iterable, Sequence
from errno import EPERM, EXDEV
from typing import Any, TypeVar

from fossil_fs.control.tree import ControlTree
from fossil_fs.scratch.records import INODE_END, ROOT
from lib9.fuse.interface import (
    Attributes,
    Buffer,
    Caller,
    Changes,
    FsStats,
    Listed,
    OpenFile,
    Operations,
)

T = TypeVar("T")
Answer = Coroutine[Any, Any, T]


class Joined(Operations):
    """`tree` has all inodes below INODE_END, `control` the others."""

    def __init__(self, tree: Operations, control: ControlTree, name: bytes) -> None:
        self._tree = tree
        self._control = control
        self._name = name

    def _of(self, ino: int) -> Operations:
        return self._tree if ino < INODE_END else self._control

    # not `async`: each hands over to the one coroutine that answers

    def lookup(self, parent: int, name: bytes, who: Caller) -> Answer[Attributes]:
        if parent == ROOT and name == self._name:
            return self._lookup_top(who)
        return self._of(parent).lookup(parent, name, who)

    async def _lookup_top(self, who: Caller) -> Attributes:
        try:
            return await self._tree.lookup(ROOT, self._name, who)
        except FileNotFoundError:
            return self._control.top()

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

    async def rmdir(self, parent: int, name: bytes, who: Caller) -> None:
        try:
            await self._of(parent).rmdir(parent, name, who)
        except FileNotFoundError:
            self._refuse_top(parent, name)
            raise

    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int, who: Caller
    ) -> None:
        fs = self._of(parent)
        if fs is not self._of(new_parent):
            raise OSError(EXDEV, "the control directory")
        try:
            await fs.rename(parent, name, new_parent, new_name, flags, who)
        except FileNotFoundError:
            self._refuse_top(parent, name)
            raise

    def _refuse_top(self, parent: int, name: bytes) -> None:
        if parent == ROOT and name == self._name:
            raise OSError(EPERM, "the control directory")

    async def link(self, ino: int, new_parent: int, new_name: bytes, who: Caller) -> Attributes:
        fs = self._of(ino)
        if fs is not self._of(new_parent):
            raise OSError(EXDEV, "the control directory")
        return await fs.link(ino, new_parent, new_name, who)

    def open(self, ino: int, flags: int, who: Caller) -> Answer[OpenFile]:
        return self._of(ino).open(ino, flags, who)

    def create(
        self, parent: int, name: bytes, mode: int, flags: int, who: Caller
    ) -> Answer[tuple[OpenFile, Attributes]]:
        return self._of(parent).create(parent, name, mode, flags, who)

    def tmpfile(
        self, parent: int, mode: int, flags: int, who: Caller
    ) -> Answer[tuple[OpenFile, Attributes]]:
        return self._of(parent).tmpfile(parent, mode, flags, who)

    def release(self, ino: int, handle: int) -> Answer[None]:
        return self._of(ino).release(ino, handle)

    def read(
        self, ino: int, handle: int, offset: int, size: int
    ) -> Answer[Buffer | Sequence[Buffer]]:
        return self._of(ino).read(ino, handle, offset, size)

    def write(self, ino: int, handle: int, offset: int, data: Buffer) -> Answer[int]:
        return self._of(ino).write(ino, handle, offset, data)

    def fsync(self, ino: int, handle: int, data_only: bool) -> Answer[None]:
        return self._of(ino).fsync(ino, handle, data_only)

    def readdir(self, ino: int, handle: int, offset: int, who: Caller) -> Answer[Iterable[Listed]]:
        return self._of(ino).readdir(ino, handle, offset, who)

    def listed(self, ino: int) -> None:
        self._of(ino).listed(ino)

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

    def fallocate(self, ino: int, handle: int, offset: int, length: int, mode: int) -> Answer[None]:
        return self._of(ino).fallocate(ino, handle, offset, length, mode)

    def lseek(self, ino: int, handle: int, offset: int, whence: int) -> Answer[int]:
        return self._of(ino).lseek(ino, handle, offset, whence)

    async def copy_file_range(
        self, source: int, source_offset: int, target: int, target_offset: int, length: int
    ) -> int:
        if source >= INODE_END or target >= INODE_END:
            raise OSError(EXDEV, "the control directory")  # the kernel copies it then
        return await self._tree.copy_file_range(
            source, source_offset, target, target_offset, length
        )
