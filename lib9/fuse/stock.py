"""The engine on plain pyfuse3: `interface.Operations` as the handlers that pyfuse3 calls.

pyfuse3 gives a handle, not the inode, to read, write and the like: a table of open files has both.
Nothing but FUSEError may leave a handler, and no answer of a wrong type may reach pyfuse3: either
would end the daemon.
"""

import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from os import O_TRUNC
from stat import S_IFDIR
from typing import Any, Concatenate, ParamSpec, TypeVar

from lib9.fuse.failures import errno_of
from lib9.fuse.gate import Gate
from lib9.fuse.interface import (
    DOT,
    DOT_DOT,
    Attributes,
    Buffer,
    Caller,
    Changes,
    FsStats,
    OpenFile,
    Operations,
    Poller,
)
from lib9.fuse.library import pyfuse3
from lib9.fuse.options import MountOptions
from lib9.fuse.privileges import drop_privileges
from lib9.latencies import Latencies, now_ns

EntryAttributes = pyfuse3.EntryAttributes
FileInfo = pyfuse3.FileInfo
FUSEError = pyfuse3.FUSEError
RequestContext = pyfuse3.RequestContext

T = TypeVar("T")
P = ParamSpec("P")
ALL_EVENTS = 0xFFFF  # pyfuse3 does not say which events the caller waits for
_log = logging.getLogger("lib9.fuse")


def entry_of(attributes: Attributes) -> EntryAttributes:
    """Return `attributes` as pyfuse3 wants them; it has no field for the birth time on Linux."""
    entry = EntryAttributes()
    entry.st_ino = attributes.ino
    entry.st_mode = attributes.mode
    entry.st_nlink = attributes.nlink
    entry.st_uid = attributes.uid
    entry.st_gid = attributes.gid
    entry.st_rdev = attributes.rdev
    entry.st_size = attributes.size
    entry.st_blocks = attributes.blocks
    entry.st_blksize = attributes.block_size
    entry.st_atime_ns = attributes.atime_ns
    entry.st_mtime_ns = attributes.mtime_ns
    entry.st_ctime_ns = attributes.ctime_ns
    entry.generation = attributes.generation
    entry.entry_timeout = attributes.keep_seconds
    entry.attr_timeout = attributes.keep_seconds
    return entry


def joined(parts: Buffer | Sequence[Buffer], size: int) -> Buffer:
    """Return what a read gave as one buffer; ValueError if it is more than was asked for."""
    if isinstance(parts, bytes | bytearray | memoryview):
        data: Buffer = parts
    else:
        data = parts[0] if len(parts) == 1 else b"".join(parts)
    if memoryview(data).nbytes > size:
        raise ValueError(f"read gave {memoryview(data).nbytes} bytes, {size} were asked for")
    return data


def counted(taken: int, size: int) -> int:
    """Return the answer of a write; ValueError if it cannot be true."""
    if not 0 <= taken <= size:
        raise ValueError(f"write took {taken} bytes of {size}")
    return taken


def _guarded(
    handler: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """Let nothing but FUSEError (and trio's cancellation) leave `handler`; count it."""
    operation = handler.__name__

    @wraps(handler)
    async def guarded(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        begun = now_ns()
        try:
            return await handler(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 a handler must not end the daemon
            raise FUSEError(errno_of(error, operation)) from None
        finally:
            self.latencies.of(operation)[(now_ns() - begun).bit_length()] += 1

    return guarded


def _gated(
    handler: Callable[Concatenate[Any, int, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, int, P], Coroutine[Any, Any, T]]:
    """Let changes wait while the gate is closed; see `Gate`. The first argument is the inode."""

    @wraps(handler)
    async def gated(self: Any, ino: int, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if ino >= self.own_inodes:
            return await handler(self, ino, *args, **kwargs)
        if self.gate.closed:
            await self.gate.wait()
        self.gate.inside += 1
        try:
            return await handler(self, ino, *args, **kwargs)
        finally:
            self.gate.inside -= 1
            self.gate.left()

    return gated


def _caller(context: RequestContext) -> Caller:
    return Caller(context.uid, context.gid, context.pid, context.umask)


def _changes(entry: EntryAttributes, fields: pyfuse3.SetattrFields) -> Changes:
    return Changes(
        mode=entry.st_mode if fields.update_mode else None,
        uid=entry.st_uid if fields.update_uid else None,
        gid=entry.st_gid if fields.update_gid else None,
        size=entry.st_size if fields.update_size else None,
        atime_ns=entry.st_atime_ns if fields.update_atime else None,
        mtime_ns=entry.st_mtime_ns if fields.update_mtime else None,
        ctime_ns=entry.st_ctime_ns if fields.update_ctime else None,
    )


class _StockPoller(Poller):
    __slots__ = ("_handle",)

    def __init__(self, handle: pyfuse3.PollHandle) -> None:
        self._handle: pyfuse3.PollHandle | None = handle

    def notify(self) -> None:
        handle, self._handle = self._handle, None
        if handle is None:
            return
        try:
            handle.notify()
        except OSError as error:  # nobody waits any more, or the mount is gone
            _log.debug("poll: %s", error)


class OpenFiles:
    """Numbers for open files and directories, as the kernel keeps them: number → (inode, handle)."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[int, int]] = {}
        self._next = 1

    def add(self, ino: int, handle: int) -> int:
        number = self._next
        self._next += 1
        self._open[number] = (ino, handle)
        return number

    def __getitem__(self, number: int) -> tuple[int, int]:
        """Return inode and handle; (0, 0) for a number that is not open."""
        return self._open.get(number, (0, 0))

    def remove(self, number: int) -> tuple[int, int]:
        return self._open.pop(number, (0, 0))


class StockHandlers(pyfuse3.Operations):
    """pyfuse3's handlers over one file system; `on_init` is called when the kernel has said hello."""

    supports_dot_lookup = False

    def __init__(
        self,
        operations: Operations,
        options: MountOptions,
        on_init: Callable[[], None],
        gate: Gate,
        latencies: Latencies,
    ) -> None:
        self.gate = gate
        self.latencies = latencies
        self.own_inodes = options.own_inodes
        self._fs = operations
        self._on_init = on_init
        self._open = OpenFiles()
        self._missing_keep_seconds = options.missing_keep_seconds
        self.enable_writeback_cache = options.writeback_cache
        self.enable_acl = options.posix_acl

    def init(self) -> None:
        self._on_init()

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for ino, count in inode_list:
            try:
                self._fs.forget(ino, count)
            except Exception as error:  # noqa: BLE001 nobody waits for an answer
                errno_of(error, "forget")

    @_guarded
    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        try:
            return entry_of(await self._fs.lookup(parent_inode, name, _caller(ctx)))
        except FileNotFoundError:
            if self._missing_keep_seconds <= 0:
                raise
            missing = EntryAttributes()  # inode 0: no such name
            missing.entry_timeout = self._missing_keep_seconds
            return missing

    @_guarded
    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        return entry_of(await self._fs.getattr(inode, _caller(ctx)))

    @_guarded
    @_gated
    async def setattr(
        self,
        inode: int,
        attr: EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        handle = self._open[fh or 0][1]
        return entry_of(await self._fs.setattr(inode, _changes(attr, fields), handle, _caller(ctx)))

    @_guarded
    async def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        return bytes(await self._fs.readlink(inode, _caller(ctx)))

    @_guarded
    @_gated
    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        return entry_of(await self._fs.mknod(parent_inode, name, mode, rdev, _caller(ctx)))

    @_guarded
    @_gated
    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext
    ) -> EntryAttributes:
        return entry_of(await self._fs.mkdir(parent_inode, name, mode, _caller(ctx)))

    @_guarded
    @_gated
    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        return entry_of(await self._fs.symlink(parent_inode, name, target, _caller(ctx)))

    @_guarded
    @_gated
    async def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._fs.unlink(parent_inode, name, _caller(ctx))

    @_guarded
    @_gated
    async def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._fs.rmdir(parent_inode, name, _caller(ctx))

    @_guarded
    @_gated
    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        await self._fs.rename(
            parent_inode_old, name_old, parent_inode_new, name_new, flags, _caller(ctx)
        )

    @_guarded
    @_gated
    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        return entry_of(await self._fs.link(inode, new_parent_inode, new_name, _caller(ctx)))

    def _opened(self, ino: int, opened: OpenFile) -> FileInfo:
        return FileInfo(
            self._open.add(ino, opened.handle),
            direct_io=opened.direct_io,
            keep_cache=opened.keep_cache,
            nonseekable=opened.nonseekable,
        )

    @_guarded
    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        who = _caller(ctx)
        if flags & O_TRUNC:
            opened = await self._open_and_cut(inode, flags, who)
        else:
            opened = await self._fs.open(inode, flags, who)
        return self._opened(inode, opened)

    @_gated
    async def _open_and_cut(self, inode: int, flags: int, who: Caller) -> OpenFile:
        opened = await self._fs.open(inode, flags, who)
        if who.uid != 0:  # the kernel does it for write and truncate only
            await drop_privileges(self._fs, inode, who)
        return opened

    @_guarded
    @_gated
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        opened, made = await self._fs.create(parent_inode, name, mode, flags, _caller(ctx))
        return self._opened(made.ino, opened), entry_of(made)

    @_guarded
    async def read(self, fh: int, off: int, size: int) -> Buffer:  # type: ignore[override]
        ino, handle = self._open[fh]
        return joined(await self._fs.read(ino, handle, off, size), size)

    @_guarded
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        return await self._write(*self._open[fh], off, buf)

    @_gated
    async def _write(self, ino: int, handle: int, off: int, buf: bytes) -> int:
        return counted(await self._fs.write(ino, handle, off, buf), len(buf))

    @_guarded
    async def flush(self, fh: int) -> None:
        await self._fs.flush(*self._open[fh])

    @_guarded
    async def release(self, fh: int) -> None:
        await self._fs.release(*self._open.remove(fh))

    @_guarded
    async def fsync(self, fh: int, datasync: bool) -> None:
        await self._fs.fsync(*self._open[fh], datasync)

    @_guarded
    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        return self._open.add(inode, await self._fs.opendir(inode, _caller(ctx)))

    @_guarded
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        ino, handle = self._open[fh]
        offset = _add_dots(token, ino, start_id)
        if offset is None:
            return
        taken = []
        for item in await self._fs.readdir(ino, handle, offset, _NOBODY):
            entry = entry_of(item.attributes)
            if not pyfuse3.readdir_reply(token, item.name, entry, item.offset):
                break
            taken.append(item.attributes.ino)
        for listed in taken:
            self._fs.listed(listed)

    @_guarded
    async def releasedir(self, fh: int) -> None:
        await self._fs.releasedir(*self._open.remove(fh))

    @_guarded
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        await self._fs.fsyncdir(*self._open[fh], datasync)

    @_guarded
    async def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        return _statvfs(await self._fs.statfs(_caller(ctx)))

    @_guarded
    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        return bytes(await self._fs.getxattr(inode, name, _caller(ctx)))

    @_guarded
    @_gated
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        # pyfuse3 has already looked whether XATTR_CREATE or XATTR_REPLACE forbid it.
        await self._fs.setxattr(inode, name, value, 0, _caller(ctx))

    @_guarded
    async def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        return [bytes(name) for name in await self._fs.listxattr(inode, _caller(ctx))]

    @_guarded
    @_gated
    async def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._fs.removexattr(inode, name, _caller(ctx))

    @_guarded
    async def poll(self, inode: int, fh: int, ph: Any, ctx: RequestContext) -> int:
        poller = None if ph is None else _StockPoller(ph)
        ready = await self._fs.poll(inode, self._open[fh][1], ALL_EVENTS, poller)
        return ready & 0xFFFFFFFF


_NOBODY = Caller(0, 0)  # pyfuse3 does not say who lists a directory


def _add_dots(token: pyfuse3.ReaddirToken, ino: int, offset: int) -> int | None:
    """Add `.` and `..` where a listing starts; return where the file system's part goes on."""
    for name, before, after in ((b".", 0, DOT), (b"..", DOT, DOT_DOT)):
        if offset == before:
            dots = EntryAttributes()
            dots.st_ino = ino  # of `..` nothing is known; the kernel uses neither
            dots.st_mode = S_IFDIR
            if not pyfuse3.readdir_reply(token, name, dots, after):
                return None
            offset = after
    return 0 if offset == DOT_DOT else offset


def _statvfs(stats: FsStats) -> pyfuse3.StatvfsData:
    data = pyfuse3.StatvfsData()
    data.f_bsize = data.f_frsize = stats.block_size
    data.f_blocks = stats.blocks
    data.f_bfree = stats.blocks_free
    data.f_bavail = stats.blocks_available
    data.f_files = stats.files
    data.f_ffree = data.f_favail = stats.files_free
    data.f_namemax = stats.name_max
    return data
