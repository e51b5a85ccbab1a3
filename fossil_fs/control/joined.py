"""The tree and its control directory as one file system, told apart by inode number.

A request costs one comparison more. The control directory is under its name in the root unless the
tree has that name itself; listings do not show it.
"""

from errno import EPERM, EXDEV

from fossil_fs.control.tree import ControlTree
from fossil_fs.scratch.records import INODE_END, ROOT
from lib9.fuse.interface import Attributes, Caller, Operations
from lib9.fuse.passing import Answer, Passing


class Joined(Passing):
    """`tree` has all inodes below INODE_END, `control` the others."""

    def __init__(self, tree: Operations, control: ControlTree, name: bytes) -> None:
        super().__init__(tree)
        self._control = control
        self._name = name

    def _of(self, ino: int) -> Operations:
        return self._tree if ino < INODE_END else self._control

    def lookup(self, parent: int, name: bytes, who: Caller) -> Answer[Attributes]:
        if parent == ROOT and name == self._name:
            return self._lookup_top(who)
        return self._of(parent).lookup(parent, name, who)

    async def _lookup_top(self, who: Caller) -> Attributes:
        try:
            return await self._tree.lookup(ROOT, self._name, who)
        except FileNotFoundError:
            return self._control.top()

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

    async def copy_file_range(
        self, source: int, source_offset: int, target: int, target_offset: int, length: int
    ) -> int:
        if source >= INODE_END or target >= INODE_END:
            raise OSError(EXDEV, "the control directory")  # the kernel copies it then
        return await self._tree.copy_file_range(
            source, source_offset, target, target_offset, length
        )
