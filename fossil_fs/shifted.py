"""A file system whose ids are seen shifted: for environments where the kernel cannot map ids on a mount."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fossil_fs.ids import Shift
from lib9.fuse.interface import (
    UNKNOWN_ID,
    Attributes,
    Caller,
    Changes,
    Listed,
    OpenFile,
    Operations,
)
from lib9.fuse.passing import Answer, Passing


class Shifted(Passing):
    """`tree`, seen from outside. What is stored stays unshifted.

    Who has no number inside - the machine's root, too - may look, as far as modes let them, and make nothing.
    """

    def __init__(self, tree: Operations, shift: Shift) -> None:
        super().__init__(tree)
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

    # not `async`: each hands over to the one coroutine that answers

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

    def opendir(self, ino: int, who: Caller) -> Answer[int]:
        return self._tree.opendir(ino, self._looker(who))
