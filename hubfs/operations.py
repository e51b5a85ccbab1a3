"""Hubs as files: what the kernel asks of a hub mount."""

import errno
import logging
import os
import select
import stat
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hubfs import ctl
from hubfs.errors import BadCommand, MessageTooLarge, NoSuchHub
from hubfs.flow import Flow, hub_of
from hubfs.hub import Reader
from hubfs.namespace import ROOT_INO, Namespace, Node
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

log = logging.getLogger(__name__)

RENAME_NOREPLACE = 1
HANDLES_MAX = 16384  # open files of a mount: each reader costs about 1 KiB
READ_SIZE_MAX = (1 << 20) - 8192  # a longer read is asked for in pieces, of which a full one
# is followed by the next, which might wait although there are bytes to return
KEEP_SECONDS = 1.0  # hubs may come and go by way of the network too


@dataclass(slots=True, eq=False)
class Handle:
    """One open file. `skew`: what must be added to the kernel's offset to have the hub's position.

    A read at `next_offset` goes on where the last one ended; any other was led there by lseek.
    """

    node: Node
    flags: int
    reader: Reader | None = None
    stream: bool = False
    skew: int = 0
    next_offset: int = 0
    who: str = ""
    consumed: bool = False
    status: bytes = b""


class NoLinks(Operations):
    """What a hub mount refuses, wherever its hubs are."""

    async def symlink(self, parent: int, name: bytes, target: bytes, who: Caller) -> Attributes:
        raise OSError(errno.EPERM, "a hub mount has hubs and groups only")

    async def link(self, ino: int, new_parent: int, new_name: bytes, who: Caller) -> Attributes:
        raise OSError(errno.EPERM, "a hub has one name")


class HubOperations(NoLinks):
    """The file system of a hub mount; `on_quit` is called when ctl is told to quit."""

    def __init__(
        self,
        names: Namespace,
        flow: Flow,
        status: Callable[[], bytes],
        on_quit: Callable[[], None],
    ) -> None:
        self.names = names
        self.flow = flow
        self._status = status
        self._on_quit = on_quit
        self._nodes: dict[int, Node] = {names.root.ino: names.root, names.ctl.ino: names.ctl}
        self._known: dict[int, int] = {}  # references the kernel holds
        self._handles: dict[int, Handle] = {}
        self._next_handle = 1

    # names

    async def lookup(self, parent: int, name: bytes, who: Caller) -> Attributes:
        return self._told(self.names.lookup(self._node(parent), name))

    def forget(self, ino: int, count: int) -> None:
        left = self._known.get(ino, 0) - count
        if left > 0:
            self._known[ino] = left
            return
        self._known.pop(ino, None)
        node = self._nodes.get(ino)
        if node is not None and node.parent is None and ino != ROOT_INO:
            del self._nodes[ino]

    def listed(self, ino: int) -> None:
        self._known[ino] = self._known.get(ino, 0) + 1

    async def mknod(
        self, parent: int, name: bytes, mode: int, rdev: int, who: Caller
    ) -> Attributes:
        if not stat.S_ISREG(mode):
            raise OSError(errno.EPERM, "a hub mount has hubs and groups only")
        return self._told(self._create(parent, name, mode, who))

    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, who: Caller
    ) -> tuple[OpenFile, Attributes]:
        node = self._create(parent, name, mode, who)
        return self._open(node, flags, who), self._told(node)

    async def mkdir(self, parent: int, name: bytes, mode: int, who: Caller) -> Attributes:
        folder = self._node(parent)
        return self._told(
            self.names.make_group(folder, name, mode & ~who.umask, who.uid, who.gid, time.time_ns())
        )

    async def unlink(self, parent: int, name: bytes, who: Caller) -> None:
        self._ended(self.names.remove(self._node(parent), name, time.time_ns()))

    async def rmdir(self, parent: int, name: bytes, who: Caller) -> None:
        self.names.remove_group(self._node(parent), name, time.time_ns())

    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int, who: Caller
    ) -> None:
        if flags & ~RENAME_NOREPLACE:
            raise OSError(errno.EINVAL, "rename flags")
        target = self._node(new_parent)
        old = (target.children or {}).get(new_name)
        replace = not flags & RENAME_NOREPLACE
        self.names.rename(
            self._node(parent), name, target, new_name, time.time_ns(), replace=replace
        )
        if old is not None and old.parent is None and old.hub is not None:
            self._ended(old)

    async def readdir(self, ino: int, handle: int, offset: int, who: Caller) -> Iterable[Listed]:
        # inode numbers only grow and are never used again: a stable place to go on from
        children = sorted((self._node(ino).children or {}).values(), key=lambda n: n.ino)
        return (Listed(n.name, self._attributes(n), n.ino) for n in children if n.ino > offset)

    # attributes

    async def getattr(self, ino: int, who: Caller) -> Attributes:
        return self._attributes(self._node(ino))

    async def setattr(self, ino: int, changes: Changes, handle: int, who: Caller) -> Attributes:
        node = self._node(ino)
        if changes.mode is not None:
            node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(changes.mode)
        if changes.uid is not None:
            node.uid = changes.uid
        if changes.gid is not None:
            node.gid = changes.gid
        if changes.mtime_now or changes.mtime_ns is not None:
            node.mtime_ns = time.time_ns() if changes.mtime_now else changes.mtime_ns or 0
        if changes.size is not None:
            self._cut(node, changes.size)
        return self._attributes(node)

    async def statfs(self, who: Caller) -> FsStats:
        most = self.names.hubs_max
        return FsStats(files=most, files_free=max(0, most - self.names.hub_count))

    # data

    async def open(self, ino: int, flags: int, who: Caller) -> OpenFile:
        return self._open(self._node(ino), flags, who)

    async def release(self, ino: int, handle: int) -> None:
        opened = self._handles.pop(handle, None)
        if opened is not None and opened.reader is not None:
            self.flow.detach(opened.node, opened.reader)

    async def read(self, ino: int, handle: int, offset: int, size: int) -> Buffer:
        opened = self._handles[handle]
        if opened.node is self.names.ctl:
            if offset == 0:
                opened.status = self._status()
            return opened.status[offset : offset + size]
        hub, reader = hub_of(opened.node), opened.reader
        size = min(size, READ_SIZE_MAX)
        if reader is None:
            raise OSError(errno.EBADF, "not open for reading")
        if hub.frozen and not opened.consumed:
            return hub.read_frozen(offset, size)
        if not opened.stream and offset != opened.next_offset:
            hub.seek(reader, opened.skew + offset)
        if opened.flags & os.O_NONBLOCK and not hub.ready(reader):
            raise OSError(errno.EAGAIN, "nothing to read now")
        data = await self.flow.read(opened.node, reader, size)
        opened.next_offset = offset + len(data)
        opened.skew = reader.position - opened.next_offset
        opened.consumed = True
        return data

    async def write(self, ino: int, handle: int, offset: int, data: Buffer) -> int:
        opened = self._handles[handle]
        node = opened.node
        if node is self.names.ctl:
            return self._command(bytes(data))
        hub = hub_of(node)
        try:
            if hub.frozen:
                place = len(hub) if opened.flags & os.O_APPEND else offset
                size = hub.write_frozen(place, data)
            else:
                size = await self.flow.write(node, data)
            node.writer = opened.who
        except MessageTooLarge as error:
            raise OSError(errno.EMSGSIZE, str(error)) from None
        node.mtime_ns = time.time_ns()
        return size

    async def flush(self, ino: int, handle: int) -> None:
        pass

    async def fsync(self, ino: int, handle: int, data_only: bool) -> None:
        pass

    async def poll(self, ino: int, handle: int, events: int, poller: Poller | None) -> int:
        opened = self._handles[handle]
        ready = select.POLLOUT
        if opened.node is self.names.ctl:
            return ready | select.POLLIN
        if self.flow.poll(opened.node, opened.reader, poller.notify if poller else None):
            ready |= select.POLLIN
        return ready

    # inside

    def _node(self, ino: int) -> Node:
        try:
            return self._nodes[ino]
        except KeyError:
            raise OSError(errno.ESTALE, "gone") from None

    def _told(self, node: Node) -> Attributes:
        self._nodes[node.ino] = node
        self.listed(node.ino)
        return self._attributes(node)

    def _attributes(self, node: Node) -> Attributes:
        self._nodes[node.ino] = node
        # a length of 0 keeps programs from seeking to an end that moves; frozen it is a plain file
        size = len(node.hub) if node.hub is not None and node.hub.frozen else 0
        return Attributes(
            ino=node.ino,
            mode=node.mode,
            nlink=2 if node.children is not None else int(node.parent is not None),
            uid=node.uid,
            gid=node.gid,
            size=size,
            atime_ns=node.mtime_ns,
            mtime_ns=node.mtime_ns,
            ctime_ns=node.mtime_ns,
            keep_seconds=KEEP_SECONDS if node.hub is None else 0.0,
        )

    def _create(self, parent: int, name: bytes, mode: int, who: Caller) -> Node:
        folder = self._node(parent)
        return self.names.create(folder, name, mode & ~who.umask, who.uid, who.gid, time.time_ns())

    def _open(self, node: Node, flags: int, who: Caller) -> OpenFile:
        access = flags & os.O_ACCMODE
        if len(self._handles) >= HANDLES_MAX:
            raise OSError(errno.ENFILE, f"{HANDLES_MAX} open files are the limit")
        handle = Handle(node, flags, stream=access == os.O_RDWR, who=f"uid {who.uid}")
        if node.hub is not None and access != os.O_WRONLY:
            handle.reader = node.hub.attach(f"pid {who.pid} uid {who.uid}")
            handle.skew = handle.reader.position
        if flags & os.O_TRUNC:
            self._cut(node, 0)
        number = self._next_handle
        self._next_handle += 1
        self._handles[number] = handle
        return OpenFile(number, direct_io=True, keep_cache=False, stream=handle.stream)

    @staticmethod
    def _cut(node: Node, size: int) -> None:
        """Frozen, a hub is cut like a file; else it keeps what it has: `echo x > hub` truncates."""
        if node.hub is None or not node.hub.frozen:
            return
        try:
            node.hub.resize_frozen(size)
        except MessageTooLarge as error:
            raise OSError(errno.EFBIG, str(error)) from None

    def _ended(self, node: Node) -> None:
        self.flow.wake(node)

    def _command(self, text: bytes) -> int:
        try:
            effects = ctl.run_command(self.names, text)
        except (BadCommand, NoSuchHub) as error:
            log.warning("ctl: %s", self.names.refused)
            raise OSError(errno.EINVAL, str(error)) from None
        self.flow.apply(effects)
        if effects.quit:
            self._on_quit()
        return len(text)
