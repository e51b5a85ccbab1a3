"""A file system in memory, for tests of the engine (memfsd.py serves it).

Files are sparse, in pages of 4 KiB as tmpfs has them. Some names at the root are special:
`hub` (a read waits for the next write), `ctl` (keeps what was last written, true length, not cached),
`bad` (reads and writes raise ValueError), `lost` (a read raises a SpawngridError), `slow` (a read waits
50 ms), `who` (says who opened it), `zero` (a TiB of zeros in pieces of 64 KiB; what is written is lost).
The root's `user.trail` says what was called since it was last asked,
its `user.waiting` how many reads wait.
"""

import os
import stat
import time
from collections.abc import Iterable, Sequence
from errno import EEXIST, EFBIG, EINVAL, ENODATA, ENOENT, ENOSYS, ENOTDIR, ENOTEMPTY, ENXIO

import trio

from lib9.errors import SpawngridError
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

PAGE = 4096
ZEROS = bytes(65536)
SPECIAL = (b"hub", b"ctl", b"bad", b"lost", b"slow", b"who", b"zero")


class Inode:
    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self.pages: dict[int, bytearray] = {}
        self.names: dict[bytes, int] = {}
        self.target = b""
        self.xattrs: dict[bytes, bytes] = {}
        self.lookups = 0
        self.special = b""
        self.text = b""


class MemFs(Operations):
    def __init__(self, *, keep_seconds: float = 86400.0) -> None:
        self.keep_seconds = keep_seconds
        self.inodes: dict[int, Inode] = {}
        self.next_ino = 1
        self.trail: list[str] = []
        self.last_trail: list[str] = []
        self.waiting = 0
        self.pollers: list[Poller] = []
        self.destroyed = False
        self.more: trio.Event | None = None
        root = self.make(stat.S_IFDIR | 0o777, Caller(0, 0))
        root.attributes.nlink = 2
        for name in SPECIAL:
            node = self.make(stat.S_IFREG | 0o666, Caller(0, 0))
            node.special = name
            node.attributes.keep_seconds = 0.0
            if name == b"zero":
                node.attributes.size = 1 << 40
            root.names[name] = node.attributes.ino

    def populate(self, count: int) -> None:
        who = Caller(0, 0)
        for number in range(40):
            folder = self.make(stat.S_IFDIR | 0o777, who)
            self.inodes[1].names[b"d%d" % number] = folder.attributes.ino
            for index in range(count):
                file = self.make(stat.S_IFREG | 0o666, who)
                file.attributes.size = PAGE
                file.pages[0] = bytearray(PAGE)
                folder.names[b"f%d" % index] = file.attributes.ino

    # -- inodes -------------------------------------------------------------------------------

    def make(self, mode: int, who: Caller, rdev: int = 0) -> Inode:
        now = time.time_ns()
        node = Inode(
            Attributes(
                self.next_ino,
                mode,
                nlink=2 if stat.S_ISDIR(mode) else 1,
                uid=who.uid,
                gid=who.gid,
                rdev=rdev,
                atime_ns=now,
                mtime_ns=now,
                ctime_ns=now,
                btime_ns=now,
                keep_seconds=self.keep_seconds,
            )
        )
        self.inodes[self.next_ino] = node
        self.next_ino += 1
        return node

    def said(self, node: Inode) -> Attributes:
        attributes = node.attributes
        if node.special == b"ctl":
            attributes.size = len(node.text)
        elif not node.special:
            attributes.blocks = len(node.pages) * (PAGE // 512)
        return attributes

    def folder(self, ino: int) -> dict[bytes, int]:
        node = self.inodes[ino]
        if not stat.S_ISDIR(node.attributes.mode):
            raise OSError(ENOTDIR, "not a directory")
        return node.names

    def add(self, parent: int, name: bytes, node: Inode) -> Attributes:
        names = self.folder(parent)
        if name in names:
            raise OSError(EEXIST, "exists")
        names[name] = node.attributes.ino
        now = time.time_ns()
        self.inodes[parent].attributes.mtime_ns = self.inodes[parent].attributes.ctime_ns = now
        node.lookups += 1
        return self.said(node)

    def drop(self, ino: int) -> None:
        node = self.inodes[ino]
        node.attributes.nlink -= 1
        node.attributes.ctime_ns = time.time_ns()
        self.reap(ino)

    def reap(self, ino: int) -> None:
        node = self.inodes[ino]
        links = node.attributes.nlink - (1 if stat.S_ISDIR(node.attributes.mode) else 0)
        if links <= 0 and node.lookups <= 0:
            del self.inodes[ino]

    # -- names --------------------------------------------------------------------------------

    async def lookup(self, parent: int, name: bytes, who: Caller) -> Attributes:
        ino = self.folder(parent).get(name)
        if ino is None:
            self.trail.append(f"missing {name.decode(errors='replace')}")
            raise OSError(ENOENT, "no such name")
        node = self.inodes[ino]
        node.lookups += 1
        return self.said(node)

    def forget(self, ino: int, count: int) -> None:
        node = self.inodes.get(ino)
        if node is not None:
            node.lookups -= count
            self.reap(ino)

    async def mknod(
        self, parent: int, name: bytes, mode: int, rdev: int, who: Caller
    ) -> Attributes:
        if name.startswith(b"error-"):
            raise OSError(int(name[6:]), "as asked")
        return self.add(parent, name, self.make(mode, who, rdev))

    async def mkdir(self, parent: int, name: bytes, mode: int, who: Caller) -> Attributes:
        said = self.add(parent, name, self.make(stat.S_IFDIR | (mode & 0o7777), who))
        self.inodes[parent].attributes.nlink += 1
        return said

    async def symlink(self, parent: int, name: bytes, target: bytes, who: Caller) -> Attributes:
        node = self.make(stat.S_IFLNK | 0o777, who)
        node.target = target
        node.attributes.size = len(target)
        return self.add(parent, name, node)

    async def readlink(self, ino: int, who: Caller) -> bytes:
        return self.inodes[ino].target

    async def unlink(self, parent: int, name: bytes, who: Caller) -> None:
        names = self.folder(parent)
        if name not in names:
            raise OSError(ENOENT, "no such name")
        self.drop(names.pop(name))

    async def rmdir(self, parent: int, name: bytes, who: Caller) -> None:
        names = self.folder(parent)
        if name not in names:
            raise OSError(ENOENT, "no such name")
        if self.folder(names[name]):
            raise OSError(ENOTEMPTY, "not empty")
        self.inodes[parent].attributes.nlink -= 1
        self.drop(names.pop(name))

    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int, who: Caller
    ) -> None:
        old, new = self.folder(parent), self.folder(new_parent)
        if name not in old:
            raise OSError(ENOENT, "no such name")
        if flags & 2:
            if new_name not in new:
                raise OSError(ENOENT, "no such name")
            old[name], new[new_name] = new[new_name], old[name]
            return
        replaced = new.get(new_name)
        if replaced is not None and flags & 1:
            raise OSError(EEXIST, "exists")
        new[new_name] = old.pop(name)
        if replaced is not None and replaced != new[new_name]:
            self.drop(replaced)

    async def link(self, ino: int, new_parent: int, new_name: bytes, who: Caller) -> Attributes:
        node = self.inodes[ino]
        said = self.add(new_parent, new_name, node)
        node.attributes.nlink += 1
        return said

    async def readdir(self, ino: int, handle: int, offset: int, who: Caller) -> Iterable[Listed]:
        names = sorted(self.folder(ino).items(), key=lambda item: item[1])
        return (
            Listed(name, self.said(self.inodes[child]), child)
            for name, child in names
            if child > offset
        )

    def listed(self, ino: int) -> None:
        self.inodes[ino].lookups += 1

    # -- attributes ---------------------------------------------------------------------------

    async def getattr(self, ino: int, who: Caller) -> Attributes:
        return self.said(self.inodes[ino])

    async def setattr(self, ino: int, changes: Changes, handle: int, who: Caller) -> Attributes:
        node = self.inodes[ino]
        now = time.time_ns()
        for name in ("mode", "uid", "gid", "atime_ns", "mtime_ns", "ctime_ns"):
            value = getattr(changes, name)
            if value is not None:
                setattr(node.attributes, name, value)
        if changes.atime_now:
            node.attributes.atime_ns = now
        if changes.mtime_now:
            node.attributes.mtime_ns = now
        if changes.size is not None:
            self.trail.append(f"setattr size={changes.size}")
            self.cut(node, changes.size)
        if changes.ctime_ns is None:
            node.attributes.ctime_ns = now
        return self.said(node)

    async def statfs(self, who: Caller) -> FsStats:
        return FsStats(PAGE, 1 << 20, 1 << 19, 1 << 18, 1 << 16, 1 << 15)

    async def getxattr(self, ino: int, name: bytes, who: Caller) -> bytes:
        if ino == 1 and name == b"user.trail":
            if self.trail:  # getxattr(2) is called again when its buffer was too small
                self.last_trail, self.trail = self.trail, []
            return "\n".join(self.last_trail).encode()
        if ino == 1 and name == b"user.waiting":
            return b"%d" % self.waiting
        value = self.inodes[ino].xattrs.get(name)
        if value is None:
            raise OSError(ENODATA, "no such attribute")
        return value

    async def setxattr(self, ino: int, name: bytes, value: bytes, flags: int, who: Caller) -> None:
        if name == b"system.posix_acl_access":
            raise OSError(ENOSYS, "no ACLs")
        xattrs = self.inodes[ino].xattrs
        if flags & 1 and name in xattrs:
            raise OSError(EEXIST, "exists")
        if flags & 2 and name not in xattrs:
            raise OSError(ENODATA, "no such attribute")
        xattrs[name] = bytes(value)

    async def listxattr(self, ino: int, who: Caller) -> Sequence[bytes]:
        return list(self.inodes[ino].xattrs)

    async def removexattr(self, ino: int, name: bytes, who: Caller) -> None:
        if self.inodes[ino].xattrs.pop(name, None) is None:
            raise OSError(ENODATA, "no such attribute")

    # -- files --------------------------------------------------------------------------------

    def opened(self, node: Inode, flags: int) -> OpenFile:
        if node.special == b"hub":
            both = flags & os.O_ACCMODE == os.O_RDWR
            return OpenFile(7, direct_io=True, keep_cache=False, stream=both)
        if node.special:
            return OpenFile(8, direct_io=node.special != b"zero", keep_cache=False)
        return OpenFile(9)

    async def open(self, ino: int, flags: int, who: Caller) -> OpenFile:
        self.trail.append(f"open {ino}")
        node = self.inodes[ino]
        if flags & os.O_TRUNC:
            self.cut(node, 0)
        if node.special == b"who":
            node.text = f"{who.uid} {who.gid} {who.pid}".encode()
        return self.opened(node, flags)

    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, who: Caller
    ) -> tuple[OpenFile, Attributes]:
        node = self.make(stat.S_IFREG | (mode & 0o7777), who)
        said = self.add(parent, name, node)
        return self.opened(node, flags), said

    async def tmpfile(
        self, parent: int, mode: int, flags: int, who: Caller
    ) -> tuple[OpenFile, Attributes]:
        node = self.make(stat.S_IFREG | (mode & 0o7777), who)
        node.attributes.nlink = 0
        node.lookups += 1
        return self.opened(node, flags), self.said(node)

    async def flush(self, ino: int, handle: int) -> None:
        self.trail.append(f"flush {ino} {handle}")

    async def release(self, ino: int, handle: int) -> None:
        self.trail.append(f"release {ino} {handle}")

    async def fsync(self, ino: int, handle: int, data_only: bool) -> None:
        self.trail.append(f"fsync {ino} {handle} {data_only}")

    async def fsyncdir(self, ino: int, handle: int, data_only: bool) -> None:
        self.trail.append(f"fsyncdir {ino}")

    async def read(
        self, ino: int, handle: int, offset: int, size: int
    ) -> Buffer | Sequence[Buffer]:
        node = self.inodes[ino]
        if node.special:
            return await self.read_special(node, offset, size)
        size = max(0, min(size, node.attributes.size - offset))
        parts: list[Buffer] = []
        while size:
            number, start = divmod(offset, PAGE)
            count = min(size, PAGE - start)
            page = node.pages.get(number)
            parts.append(memoryview(page)[start : start + count] if page else bytes(count))
            offset += count
            size -= count
        return parts

    async def read_special(self, node: Inode, offset: int, size: int) -> Buffer | Sequence[Buffer]:
        if node.special == b"zero":
            return [ZEROS] * (size // len(ZEROS)) + [ZEROS[: size % len(ZEROS)]]
        if node.special == b"bad":
            raise ValueError("a bug")
        if node.special == b"lost":
            raise SpawngridError("store is away: no answer")
        if node.special == b"slow":
            await trio.sleep(0.05)
        if node.special == b"hub":
            if self.more is None:
                self.more = trio.Event()
            self.waiting += 1
            try:
                await self.more.wait()
            finally:
                self.waiting -= 1
            return node.text
        return node.text[offset : offset + size]

    async def write(self, ino: int, handle: int, offset: int, data: Buffer) -> int:
        node = self.inodes[ino]
        if node.special == b"zero":
            return len(data)
        if node.special:
            return self.write_special(node, bytes(data))
        view = memoryview(data)
        if offset + len(view) > 1 << 40:
            raise OSError(EFBIG, "too large")
        done = 0
        while done < len(view):
            number, start = divmod(offset + done, PAGE)
            count = min(len(view) - done, PAGE - start)
            page = node.pages.setdefault(number, bytearray(PAGE))
            page[start : start + count] = view[done : done + count]
            done += count
        attributes = node.attributes
        attributes.size = max(attributes.size, offset + done)
        attributes.mtime_ns = attributes.ctime_ns = time.time_ns()
        return done

    def write_special(self, node: Inode, data: bytes) -> int:
        if node.special == b"bad":
            raise ValueError("a bug")
        node.text = data
        node.attributes.mtime_ns = time.time_ns()
        if node.special == b"hub":
            if self.more is not None:
                self.more.set()
            self.more = None
            pollers, self.pollers = self.pollers, []
            for poller in pollers:
                poller.notify()
        return len(data)

    async def poll(self, ino: int, handle: int, events: int, poller: Poller | None) -> int:
        node = self.inodes[ino]
        if node.special != b"hub" or node.text:
            return 0x1 | 0x4 | 0x40 | 0x100  # readable and writable
        if poller is not None:
            self.pollers.append(poller)
        return 0x4 | 0x100

    def cut(self, node: Inode, size: int) -> None:
        if node.special:
            node.text = node.text[:size]
            return
        last, rest = divmod(size, PAGE)
        node.pages = {n: page for n, page in node.pages.items() if n * PAGE < size}
        if rest and last in node.pages:
            node.pages[last][rest:] = bytes(PAGE - rest)
        node.attributes.size = size
        node.attributes.mtime_ns = time.time_ns()

    async def fallocate(self, ino: int, handle: int, offset: int, length: int, mode: int) -> None:
        node = self.inodes[ino]
        if mode not in (0, 1, 3, 0x10, 0x11):
            raise OSError(EINVAL, "mode")
        end = offset + length
        if mode & 0x12:  # punch a hole, or make zeros
            for number in list(node.pages):
                first, last = max(offset, number * PAGE), min(end, (number + 1) * PAGE)
                if first < last:
                    node.pages[number][first - number * PAGE : last - number * PAGE] = bytes(
                        last - first
                    )
                    if last - first == PAGE and mode & 2:
                        del node.pages[number]
        if not mode & 2:
            for number in range(offset // PAGE, -(-end // PAGE)):
                node.pages.setdefault(number, bytearray(PAGE))
        if not mode & 1:
            node.attributes.size = max(node.attributes.size, end)

    async def lseek(self, ino: int, handle: int, offset: int, whence: int) -> int:
        node = self.inodes[ino]
        size = node.attributes.size
        if offset >= size:
            raise OSError(ENXIO, "past the end")
        want_data = whence == os.SEEK_DATA
        while offset < size:
            if (offset // PAGE in node.pages) == want_data:
                return offset
            offset = (offset // PAGE + 1) * PAGE
        if want_data:
            raise OSError(ENXIO, "no data behind")
        return size

    async def copy_file_range(
        self, source: int, source_offset: int, target: int, target_offset: int, length: int
    ) -> int:
        self.trail.append(f"copy {length}")
        parts = await self.read(source, 0, source_offset, length)
        return await self.write(target, 0, target_offset, b"".join(parts))  # type: ignore[arg-type]

    async def destroy(self) -> None:
        self.destroyed = True
