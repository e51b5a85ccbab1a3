"""A mount of hubs that are elsewhere: what the kernel asks becomes calls over a link.

Each open file that reads has at most one Read under way. It outlives the read(2) it was made for: a
reader that is interrupted finds its answer at the next read, and poll waits for one as well. After a
reconnect every reader goes on at the position it had reached; what was lapped meanwhile is `lost`.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import stat
from collections.abc import Callable, Iterable
from typing import Final

from hubfs.namespace import CTL_INO, NAME_SIZE_MAX, ROOT_INO
from hubfs.net import wire
from hubfs.net.far import FarFile, FarReader
from hubfs.net.link import Call, Link
from hubfs.operations import HANDLES_MAX, READ_SIZE_MAX, RENAME_NOREPLACE, NoLinks
from lib9.fuse.interface import (
    Attributes,
    Buffer,
    Caller,
    Changes,
    FsStats,
    Listed,
    OpenFile,
    Poller,
)

log = logging.getLogger("hubfs")

POLL_SIZE: Final = 64 << 10  # what is asked for when a program polls and has not said how much
NOBODY: Final = 65534  # the owner of what is not this user's


class RemoteOperations(NoLinks):
    """The file system of a hub mount whose hubs are at the other end of `link`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._files: dict[int, FarFile] = {}
        self._next_handle = 1
        self._places: dict[int, tuple[int, bytes]] = {}  # of known inodes: parent and name
        self._known: dict[int, int] = {}
        self._last: dict[int, wire.Facts] = {}
        self._uid, self._gid = os.getuid(), os.getgid()
        link.reopen = self._reopen

    # names

    async def lookup(self, parent: int, name: bytes, who: Caller) -> Attributes:
        return self._entry(parent, name, await self._told(wire.Lookup(parent, _checked(name))))

    def forget(self, ino: int, count: int) -> None:
        left = self._known.get(ino, 0) - count
        if left > 0:
            self._known[ino] = left
            return
        for table in (self._known, self._places, self._last):
            table.pop(ino, None)

    def listed(self, ino: int) -> None:
        self._known[ino] = self._known.get(ino, 0) + 1

    async def mknod(
        self, parent: int, name: bytes, mode: int, rdev: int, who: Caller
    ) -> Attributes:
        if not stat.S_ISREG(mode):
            raise OSError(errno.EPERM, "a hub mount has hubs and groups only")
        made = wire.Create(parent, _checked(name), stat.S_IMODE(mode & ~who.umask))
        return self._entry(parent, name, await self._told(made))

    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, who: Caller
    ) -> tuple[OpenFile, Attributes]:
        attributes = await self.mknod(parent, name, mode, 0, who)
        return await self.open(attributes.ino, flags, who), attributes

    async def mkdir(self, parent: int, name: bytes, mode: int, who: Caller) -> Attributes:
        made = wire.MakeGroup(parent, _checked(name), stat.S_IMODE(mode & ~who.umask))
        return self._entry(parent, name, await self._told(made))

    async def unlink(self, parent: int, name: bytes, who: Caller) -> None:
        await self._link.call(wire.Remove(parent, _checked(name)), wire.Done)

    async def rmdir(self, parent: int, name: bytes, who: Caller) -> None:
        await self._link.call(wire.RemoveGroup(parent, _checked(name)), wire.Done)

    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int, who: Caller
    ) -> None:
        if flags & ~RENAME_NOREPLACE:
            raise OSError(errno.EINVAL, "rename flags")
        replace = not flags & RENAME_NOREPLACE
        await self._link.call(
            wire.Rename(parent, _checked(name), new_parent, _checked(new_name), replace), wire.Done
        )
        for ino, place in self._places.items():
            if place == (parent, name):
                self._places[ino] = (new_parent, new_name)
                break

    async def readdir(self, ino: int, handle: int, offset: int, who: Caller) -> Iterable[Listed]:
        found: list[Listed] = []
        while True:
            names = (await self._link.call(wire.List(ino, offset), wire.Names)).names
            for entry in names:
                offset = entry.facts.ino
                self._remember(ino, entry.name, entry.facts)
                found.append(Listed(entry.name, self._attributes(entry.facts), offset))
            if not names:
                return found

    # attributes

    async def getattr(self, ino: int, who: Caller) -> Attributes:
        try:
            return self._attributes(await self._told(wire.GetFacts(ino)))
        except OSError as error:
            last = self._last.get(ino)
            if error.errno != errno.ESTALE or last is None:
                raise
            # removed, and still open here
            gone = self._attributes(last)
            gone.nlink = 0
            return gone

    async def setattr(self, ino: int, changes: Changes, handle: int, who: Caller) -> Attributes:
        if changes.uid not in (None, self._uid) or changes.gid not in (None, self._gid):
            raise OSError(errno.EPERM, "owners are keys here")
        if changes.mode is not None:
            facts = await self._told(wire.SetMode(ino, stat.S_IMODE(changes.mode)))
            return self._attributes(facts)
        return await self.getattr(ino, who)  # sizes and times are taken and ignored

    async def statfs(self, who: Caller) -> FsStats:
        return FsStats()

    # data

    async def open(self, ino: int, flags: int, who: Caller) -> OpenFile:
        if len(self._files) >= HANDLES_MAX:
            raise OSError(errno.ENFILE, f"{HANDLES_MAX} open files are the limit")
        number = self._next_handle
        self._next_handle += 1
        access = flags & os.O_ACCMODE
        far = FarFile(ino, flags, stream=access == os.O_RDWR)
        if ino != CTL_INO and access != os.O_WRONLY:
            asked = wire.Open(number, ino, b"", wire.AT_THE_END)
            opened = await self._link.call(asked, wire.Opened)
            far.reader = FarReader(self._link, number, self._path(ino), opened.position)
        self._files[number] = far
        return OpenFile(number, direct_io=True, keep_cache=False, stream=far.stream)

    async def release(self, ino: int, handle: int) -> None:
        far = self._files.pop(handle, None)
        if far is not None and far.reader is not None:
            far.reader.close()

    async def read(self, ino: int, handle: int, offset: int, size: int) -> Buffer:
        far = self._files[handle]
        if ino == CTL_INO:
            if offset == 0:
                status = await self._link.call(wire.GetStatus(), wire.Status)
                far.status = bytes(status.text) + self._line().encode()
            return far.status[offset : offset + size]
        if far.reader is None:
            raise OSError(errno.EBADF, "not open for reading")
        place = None if far.stream else offset
        wait = not far.flags & os.O_NONBLOCK
        return await far.reader.read(place, min(size, READ_SIZE_MAX), wait=wait)

    async def write(self, ino: int, handle: int, offset: int, data: Buffer) -> int:
        if ino == CTL_INO:
            await self._link.call(wire.Command(bytes(data)), wire.Done)
            return len(data)
        if len(data) > wire.DATA_SIZE_MAX:
            raise OSError(errno.EMSGSIZE, "longer than a message")
        append = bool(self._files[handle].flags & os.O_APPEND)
        asked = wire.Write(ino, offset, append, bytes(data))
        return (await self._link.call(asked, wire.Wrote)).size

    async def flush(self, ino: int, handle: int) -> None:
        pass

    async def fsync(self, ino: int, handle: int, data_only: bool) -> None:
        pass

    async def poll(self, ino: int, handle: int, events: int, poller: Poller | None) -> int:
        reader = self._files[handle].reader
        ready = select.POLLOUT
        notify: Callable[[], None] | None = poller.notify if poller else None
        if reader is None or reader.poll(POLL_SIZE, notify):
            ready |= select.POLLIN
        return ready

    # inside

    async def _told(self, asked: wire.Request) -> wire.Facts:
        return (await self._link.call(asked, wire.Told)).facts

    def _remember(self, parent: int, name: bytes, facts: wire.Facts) -> None:
        self._places[facts.ino] = (parent, name)
        self._last[facts.ino] = facts

    def _entry(self, parent: int, name: bytes, facts: wire.Facts) -> Attributes:
        self._remember(parent, name, facts)
        self.listed(facts.ino)
        return self._attributes(facts)

    def _attributes(self, facts: wire.Facts) -> Attributes:
        return Attributes(
            ino=facts.ino,
            mode=facts.mode,
            nlink=facts.links,
            uid=self._uid if facts.mine else NOBODY,
            gid=self._gid if facts.mine else NOBODY,
            size=facts.size,
            atime_ns=facts.mtime_ns,
            mtime_ns=facts.mtime_ns,
            ctime_ns=facts.mtime_ns,
            keep_seconds=0.0,
        )

    def _path(self, ino: int) -> bytes:
        parts: list[bytes] = []
        while ino != ROOT_INO and ino in self._places:
            ino, name = self._places[ino]
            parts.append(name)
        return b"/".join(reversed(parts))

    def _line(self) -> str:
        lost = sum(far.reader.lost for far in self._files.values() if far.reader is not None)
        welcome = self._link.welcome
        you = f" as {welcome.you} ({welcome.rights})" if welcome else ""
        return f"from {self._link.name}{you}: connects {self._link.connects} lost {lost}\n"

    def _reopen(self, anew: bool) -> list[Call]:
        """The server does not know our readers any more: make them again."""
        readers = (far.reader for far in self._files.values() if far.reader is not None)
        return [reader.open_again(anew) for reader in readers]


def _checked(name: bytes) -> bytes:
    if len(name) > NAME_SIZE_MAX:  # the kernel takes longer ones
        raise OSError(errno.ENAMETOOLONG, "name too long")
    return name
