"""What a file system gives to the engine: plain Python, no pyfuse3, no errno tables.

Handlers raise OSError with the errno the caller shall see. Any other exception becomes EIO, with
its traceback in the log; it never ends the daemon. Inode 1 is the root. Names and xattr values are
bytes. A handler never touches its own mount and has no way to invalidate the kernel's caches.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from errno import ENODATA, ENOSYS, EOPNOTSUPP

Buffer = bytes | bytearray | memoryview

DOT = (
    1 << 62
)  # offsets of `.` and `..` in a listing, which the engine adds; a file system's are below
DOT_DOT = DOT + 1


UNKNOWN_ID = 0xFFFFFFFF


@dataclass(slots=True)
class Attributes:
    """What stat(2) and statx(2) say; times in nanoseconds since 1970, `blocks` of 512 bytes.

    `keep_seconds`: how long the kernel may keep attributes and name without asking again.
    """

    ino: int
    mode: int
    nlink: int = 1
    uid: int = 0
    gid: int = 0
    rdev: int = 0
    size: int = 0
    blocks: int = 0
    block_size: int = 4096
    atime_ns: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    btime_ns: int = 0
    generation: int = 0
    keep_seconds: float = 86400.0


@dataclass(slots=True)  # made for every request: a frozen one would take twice as long
class Caller:
    """Who asks: ids as the kernel gives them to the daemon; `pid` 0 where it is not known.

    With `MountOptions.idmapped` the kernel tells uid and gid only where something is made: else
    both are UNKNOWN_ID. The kernel has taken `umask` off a mode, but not with `posix_acl`: there the
    file system does it, because a default ACL counts instead.
    """

    uid: int
    gid: int
    pid: int = 0
    umask: int = 0


_NONE = (None,) * 6


@dataclass(slots=True)
class Changes:
    """What setattr shall change: None means leave as it is. `*_now`: the file system's own clock."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None
    ctime_ns: int | None = None
    atime_now: bool = False
    mtime_now: bool = False

    @property
    def beyond_size(self) -> bool:
        """Whether anything but the size shall change."""
        others = self.mode, self.uid, self.gid, self.atime_ns, self.mtime_ns, self.ctime_ns
        return self.atime_now or self.mtime_now or others != _NONE


@dataclass(slots=True)
class OpenFile:
    """An answer to open: `handle` comes back in later calls."""

    handle: int = 0
    direct_io: bool = False  # every read and write reaches the handler, nothing is cached
    keep_cache: bool = True  # pages read before stay valid
    nonseekable: bool = False
    stream: bool = (
        False  # no file position: reads and writes of one open file do not wait for each other
    )


@dataclass(slots=True)
class FsStats:
    """What statfs(2) says; counts of blocks of `block_size` bytes."""

    block_size: int = 4096
    blocks: int = 0
    blocks_free: int = 0
    blocks_available: int = 0
    files: int = 0
    files_free: int = 0
    name_max: int = 255


@dataclass(slots=True)
class Listed:
    """One name of a directory. `offset` is where the listing goes on after it (never 0).

    With `attributes` the kernel counts it as looked up (one `forget` will come); only what was
    taken by the reply counts, the engine says which through `Operations.listed`.
    """

    name: bytes
    attributes: Attributes
    offset: int


class Poller:
    """A select/poll/epoll that waits; `notify()` wakes it once. Made by the engine."""

    def notify(self) -> None:
        """Tell the kernel that the file may be ready now."""
        raise NotImplementedError


class Operations:
    """The file system. Override what is supported; the rest answers ENOSYS or the like.

    `ino` is always the inode, also where the kernel sends no handle (`handle` is then 0).
    """

    async def lookup(self, parent: int, name: bytes, who: Caller) -> Attributes:
        raise OSError(ENOSYS, "lookup")

    def forget(self, ino: int, count: int) -> None:
        """The kernel dropped `count` references that lookups and listings gave it. Never fails."""

    async def getattr(self, ino: int, who: Caller) -> Attributes:
        raise OSError(ENOSYS, "getattr")

    async def setattr(self, ino: int, changes: Changes, handle: int, who: Caller) -> Attributes:
        raise OSError(ENOSYS, "setattr")

    async def readlink(self, ino: int, who: Caller) -> bytes:
        raise OSError(ENOSYS, "readlink")

    async def mknod(
        self, parent: int, name: bytes, mode: int, rdev: int, who: Caller
    ) -> Attributes:
        raise OSError(ENOSYS, "mknod")

    async def mkdir(self, parent: int, name: bytes, mode: int, who: Caller) -> Attributes:
        raise OSError(ENOSYS, "mkdir")

    async def symlink(self, parent: int, name: bytes, target: bytes, who: Caller) -> Attributes:
        raise OSError(ENOSYS, "symlink")

    async def unlink(self, parent: int, name: bytes, who: Caller) -> None:
        raise OSError(ENOSYS, "unlink")

    async def rmdir(self, parent: int, name: bytes, who: Caller) -> None:
        raise OSError(ENOSYS, "rmdir")

    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int, who: Caller
    ) -> None:
        """`flags`: RENAME_NOREPLACE 1, RENAME_EXCHANGE 2, as renameat2(2)."""
        raise OSError(ENOSYS, "rename")

    async def link(self, ino: int, new_parent: int, new_name: bytes, who: Caller) -> Attributes:
        raise OSError(ENOSYS, "link")

    async def open(self, ino: int, flags: int, who: Caller) -> OpenFile:
        return OpenFile()

    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, who: Caller
    ) -> tuple[OpenFile, Attributes]:
        raise OSError(ENOSYS, "create")

    async def read(
        self, ino: int, handle: int, offset: int, size: int
    ) -> Buffer | Sequence[Buffer]:
        """Return at most `size` bytes, fewer at the end of the file only; parts are not joined."""
        raise OSError(ENOSYS, "read")

    async def write(self, ino: int, handle: int, offset: int, data: Buffer) -> int:
        """Take `data` (valid during the call only) and return how many bytes were taken."""
        raise OSError(ENOSYS, "write")

    async def flush(self, ino: int, handle: int) -> None:
        raise OSError(ENOSYS, "flush")

    async def release(self, ino: int, handle: int) -> None:
        """The last descriptor of an open file was closed. Not called with `no_open`."""

    async def fsync(self, ino: int, handle: int, data_only: bool) -> None:
        raise OSError(ENOSYS, "fsync")

    async def opendir(self, ino: int, who: Caller) -> int:
        return 0

    async def readdir(self, ino: int, handle: int, offset: int, who: Caller) -> Iterable[Listed]:
        """List from `offset` (0: the start), lazily: the engine stops when its reply is full.

        Without `.` and `..` (the engine adds them). Offsets, 0 < offset < DOT, stay valid while
        entries come and go.
        """
        raise OSError(ENOSYS, "readdir")

    def listed(self, ino: int) -> None:
        """The kernel was given `ino` by a listing: one reference, as by a lookup."""

    async def releasedir(self, ino: int, handle: int) -> None:
        pass

    async def fsyncdir(self, ino: int, handle: int, data_only: bool) -> None:
        raise OSError(ENOSYS, "fsyncdir")

    async def statfs(self, who: Caller) -> FsStats:
        raise OSError(ENOSYS, "statfs")

    async def getxattr(self, ino: int, name: bytes, who: Caller) -> bytes:
        raise OSError(ENODATA, "getxattr")

    async def setxattr(self, ino: int, name: bytes, value: bytes, flags: int, who: Caller) -> None:
        """`flags`: XATTR_CREATE 1, XATTR_REPLACE 2."""
        raise OSError(EOPNOTSUPP, "setxattr")

    async def listxattr(self, ino: int, who: Caller) -> Sequence[bytes]:
        return ()

    async def removexattr(self, ino: int, name: bytes, who: Caller) -> None:
        raise OSError(ENODATA, "removexattr")

    async def poll(self, ino: int, handle: int, events: int, poller: Poller | None) -> int:
        """Return the events that are ready; keep `poller` to wake the caller later."""
        raise OSError(ENOSYS, "poll")

    async def fallocate(self, ino: int, handle: int, offset: int, length: int, mode: int) -> None:
        raise OSError(EOPNOTSUPP, "fallocate")

    async def lseek(self, ino: int, handle: int, offset: int, whence: int) -> int:
        """SEEK_DATA 3 and SEEK_HOLE 4 only; ENXIO as lseek(2)."""
        raise OSError(ENOSYS, "lseek")

    async def copy_file_range(
        self, source: int, source_offset: int, target: int, target_offset: int, length: int
    ) -> int:
        raise OSError(EOPNOTSUPP, "copy_file_range")

    async def tmpfile(
        self, parent: int, mode: int, flags: int, who: Caller
    ) -> tuple[OpenFile, Attributes]:
        """Make a file without a name (O_TMPFILE)."""
        raise OSError(EOPNOTSUPP, "tmpfile")

    async def destroy(self) -> None:
        """The mount is gone; no handler will be called any more."""
