"""The engine with the shim: every request answered from `interface.Operations` directly.

The shim parses a request and calls the handler that is registered for its opcode:
handler(unique, caller, inode, numbers of the request..., names..., data). The handlers run in pyfuse3's
tasks and may wait. Each request gets exactly one answer, an errno for whatever goes wrong.
"""

import struct
from collections.abc import Awaitable, Callable, Coroutine
from errno import EAGAIN, EINTR, ENODATA, ENOSYS, ERANGE
from functools import wraps
from os import O_TRUNC
from stat import S_IFDIR, S_IFMT
from types import ModuleType
from typing import Any

import trio

from lib9.fuse.failures import errno_of
from lib9.fuse.gate import Gate
from lib9.fuse.interface import DOT, DOT_DOT, Caller, Operations, Poller
from lib9.fuse.interrupts import Interrupts
from lib9.fuse.loop import going_on
from lib9.fuse.numbers import CHANGING, READING, changes_of, open_flags
from lib9.fuse.options import MountOptions
from lib9.fuse.privileges import drop_privileges, without_privileges
from lib9.fuse.stock import counted
from lib9.latencies import Latencies, now_ns

Method = Callable[..., Awaitable[None]]
Handler = Callable[..., Awaitable[None]]

_STATFS = struct.Struct("=5Q3I28x")
_SEEK = struct.Struct("=Q")
_COPY_MAX = 0x7FFFF000  # what one system call moves at most; the answer has 32 bits
_FSYNC_DATA = 1
_POLL_NOTIFY = 1
_ENDS = (18, 29)  # RELEASE and RELEASEDIR: nobody waits for them
_OPEN = 14
_PASS = (17, 18, 20, 25, 27, 29, 30)  # among what may change things: these change nothing
_FATTR_FH = 1 << 6
_FATTR_MODE = 1
_FATTR_OWNER = 2 | 4
_FATTR_KILL = 1 << 11
_FATTR_ANY = 0x1BF  # mode, owner, group, size and times: what somebody asked for
_WRITE_KILL = 1 << 2
_OPEN_KILL = 1
_CAPABILITY = b"security.capability"


class _KernelPoller(Poller):
    __slots__ = ("_handle", "_notify")

    def __init__(self, notify: Callable[[int], int], handle: int) -> None:
        self._notify = notify
        self._handle = handle

    def notify(self) -> None:
        self._notify(self._handle)


class RawHandlers:
    """The handlers of one mount; `register` gives them to the shim."""

    def __init__(
        self,
        operations: Operations,
        options: MountOptions,
        shim: ModuleType,
        on_gone: Callable[[], None],
        interrupts: Interrupts,
        gate: Gate,
        latencies: Latencies,
    ) -> None:
        self._on_gone = on_gone
        self._fs = operations
        self._options = options
        self._shim = shim
        self.interrupts = interrupts
        self._names = READING | CHANGING  # of opcodes, for the log
        self._xattrs_set = 0  # how often one was
        self._gate = gate
        self._latencies = latencies

    def register(self) -> None:
        """Take over every request that is known here; the rest stays with libfuse."""
        reading: dict[int, Method] = {code: getattr(self, name) for code, name in READING.items()}
        changing: dict[int, Method] = {code: getattr(self, name) for code, name in CHANGING.items()}
        wrap = self._interruptible if self._options.interruptible else self._answered
        for opcode, method in changing.items():
            if opcode in _ENDS or (opcode in _PASS and not self._options.far):
                self._shim.handle(opcode, self._answered(method))
            elif opcode in _PASS:
                self._shim.handle(opcode, wrap(method))
            elif self._options.far:
                self._shim.handle(opcode, wrap(self._gated(method, opcode)))
            else:
                self._shim.handle(opcode, self._changing(method, opcode))
        for opcode, method in reading.items():
            self._shim.handle(opcode, wrap(method))
        for opcode in self._refused():
            self._shim.handle(opcode, ENOSYS)

    def _refused(self) -> list[int]:
        """What the kernel shall not ask again: it does without, and saves the request."""
        refused = [34]  # ACCESS: the kernel checks permissions, or nobody does
        if self._options.no_open:
            refused += [14, 25, 27, 35]  # OPEN, FLUSH, OPENDIR, CREATE (MKNOD comes instead)
        if type(self._fs).getxattr is Operations.getxattr:
            refused += [21, 22, 23, 24]
        return refused

    def interrupt(self, unique: int) -> None:
        """A signal is pending for who waits for this request; 0: the connection is gone."""
        if unique == 0:
            self._on_gone()
            self.interrupts.end_all()
        else:
            self.interrupts.interrupt(unique)

    def forget(self, ino: int, count: int) -> None:
        try:
            self._fs.forget(ino, count)
        except Exception as error:  # noqa: BLE001 nobody waits for an answer
            errno_of(error, "forget")

    def fail(self, unique: int, opcode: int, error: Exception) -> None:
        """Answer a request whose handler raised: this must not end the daemon."""
        self._shim.reply_error(unique, errno_of(error, self._names.get(opcode, "request")))

    def wait(
        self, handler: Coroutine[Any, Any, None], said: object, unique: int, opcode: int
    ) -> Awaitable[None]:
        """Return the rest of a handler that has begun and waits."""
        return going_on(handler, said, lambda error: self.fail(unique, opcode, error))

    def _answered(self, method: Method) -> Handler:
        reply_error = self._shim.reply_error
        name = getattr(method, "__name__", "request")
        counts = self._latencies.of(name)

        async def answered(unique: int, *arguments: Any) -> None:
            begun = now_ns()
            try:
                await method(unique, *arguments)
            except Exception as error:  # noqa: BLE001 a handler must not end the daemon
                reply_error(unique, errno_of(error, name))
            counts[(now_ns() - begun).bit_length()] += 1

        return answered

    def _changing(self, method: Method, opcode: int) -> Handler:
        """As `_answered(_gated(method))`, for the price of one: most requests find the gate open."""
        reply_error = self._shim.reply_error
        name = getattr(method, "__name__", "request")
        counts = self._latencies.of(name)
        gate, own = self._gate, self._options.own_inodes
        slowly = self._answered(self._gated(method, opcode))

        async def changing(unique: int, who: Caller, ino: int, *arguments: Any) -> None:
            if gate.closed or ino >= own:
                await slowly(unique, who, ino, *arguments)
                return
            begun = now_ns()
            gate.inside += 1
            try:
                await method(unique, who, ino, *arguments)
            except Exception as error:  # noqa: BLE001 a handler must not end the daemon
                reply_error(unique, errno_of(error, name))
            finally:
                gate.inside -= 1
                if not gate.inside:
                    gate.left()
            counts[(now_ns() - begun).bit_length()] += 1

        return changing

    def _gated(self, method: Method, opcode: int) -> Method:
        """Return `method` behind the gate; what is on the mount's own inodes passes by it."""
        gate, own = self._gate, self._options.own_inodes

        @wraps(method)
        async def gated(unique: int, who: Caller, ino: int, *arguments: Any) -> None:
            if ino >= own:
                await self._waiting(unique, who, lambda: method(unique, who, ino, *arguments))
                return
            if gate.closed and (opcode != _OPEN or arguments[0] & O_TRUNC):
                await self._waiting(unique, who, gate.wait)
            gate.inside += 1
            try:
                await method(unique, who, ino, *arguments)
            finally:
                gate.inside -= 1
                gate.left()

        return gated

    async def _waiting(self, unique: int, who: Caller, work: Callable[[], Awaitable[None]]) -> None:
        """Do what may wait; OSError EINTR if a signal ends it, EAGAIN if too many wait."""
        waiting = self.interrupts.waiting
        if unique in waiting:  # whoever calls this sees to it
            await work()
            return
        # one more could keep the interrupts themselves from being read
        if len(waiting) >= self._options.max_tasks:
            raise OSError(EAGAIN, "too many requests wait")
        with trio.CancelScope() as scope:
            waiting[unique] = scope, who.pid
            try:
                await work()
            finally:
                del waiting[unique]
        if scope.cancelled_caught:
            raise OSError(EINTR, "a signal came")

    def _interruptible(self, method: Method) -> Handler:
        name = getattr(method, "__name__", "request")

        async def interruptible(unique: int, who: Caller, *arguments: Any) -> None:
            await self._waiting(unique, who, lambda: method(unique, who, *arguments))

        interruptible.__name__ = name
        return self._answered(interruptible)

    # -- names ----------------------------------------------------------------------------------

    async def lookup(self, unique: int, who: Caller, parent: int, name: bytes) -> None:
        try:
            found = await self._fs.lookup(parent, name, who)
        except FileNotFoundError:
            keep = self._options.missing_keep_seconds
            if keep <= 0:
                raise
            self._shim.reply_missing(unique, keep)
        else:
            self._shim.reply_entry(unique, found)

    async def mknod(
        self, unique: int, who: Caller, parent: int, mode: int, rdev: int, umask: int, name: bytes
    ) -> None:
        who = Caller(who.uid, who.gid, who.pid, umask)
        made = await self._fs.mknod(parent, name, mode, rdev, who)
        self._shim.bare(made.ino)
        self._shim.reply_entry(unique, made)

    async def mkdir(
        self, unique: int, who: Caller, parent: int, mode: int, umask: int, name: bytes
    ) -> None:
        who = Caller(who.uid, who.gid, who.pid, umask)
        mode = mode & ~S_IFMT(mode) | S_IFDIR
        self._shim.reply_entry(unique, await self._fs.mkdir(parent, name, mode, who))

    async def symlink(
        self, unique: int, who: Caller, parent: int, name: bytes, target: bytes
    ) -> None:
        self._shim.reply_entry(unique, await self._fs.symlink(parent, name, target, who))

    async def link(self, unique: int, who: Caller, parent: int, ino: int, name: bytes) -> None:
        self._shim.reply_entry(unique, await self._fs.link(ino, parent, name, who))

    async def unlink(self, unique: int, who: Caller, parent: int, name: bytes) -> None:
        await self._fs.unlink(parent, name, who)
        self._shim.reply_error(unique, 0)

    async def rmdir(self, unique: int, who: Caller, parent: int, name: bytes) -> None:
        await self._fs.rmdir(parent, name, who)
        self._shim.reply_error(unique, 0)

    async def rename(
        self, unique: int, who: Caller, parent: int, new_parent: int, name: bytes, new_name: bytes
    ) -> None:
        await self._fs.rename(parent, name, new_parent, new_name, 0, who)
        self._shim.reply_error(unique, 0)

    async def rename2(
        self,
        unique: int,
        who: Caller,
        parent: int,
        new_parent: int,
        flags: int,
        name: bytes,
        new_name: bytes,
    ) -> None:
        await self._fs.rename(parent, name, new_parent, new_name, flags, who)
        self._shim.reply_error(unique, 0)

    async def readdir(
        self, unique: int, who: Caller, ino: int, handle: int, offset: int, size: int
    ) -> None:
        dots: tuple[tuple[bytes, int, int], ...] = ()
        if offset in (0, DOT):
            both = ((b".", ino, DOT), (b"..", ino, DOT_DOT))
            dots = both if offset == 0 else both[1:]
        start = 0 if offset in (DOT, DOT_DOT) else offset
        entries = await self._fs.readdir(ino, handle, start, who)
        for listed in self._shim.reply_listing(unique, size, dots, entries):
            self._fs.listed(listed)

    async def readlink(self, unique: int, who: Caller, ino: int) -> None:
        self._shim.reply_data(unique, await self._fs.readlink(ino, who), 4096)

    # -- attributes -------------------------------------------------------------------------------

    async def getattr(self, unique: int, who: Caller, ino: int, _flags: int, _fh: int) -> None:
        self._shim.reply_attr(unique, await self._fs.getattr(ino, who))

    async def statx(
        self, unique: int, who: Caller, ino: int, _flags: int, _fh: int, _sx: int, _mask: int
    ) -> None:
        self._shim.reply_statx(unique, await self._fs.getattr(ino, who))

    async def setattr(self, unique: int, who: Caller, ino: int, *numbers: int) -> None:
        valid = numbers[0]
        changes = changes_of(numbers)
        asked = valid & _FATTR_ANY
        if valid & (_FATTR_KILL | _FATTR_OWNER) or not asked:
            now = await self._fs.getattr(ino, who)
            mode = without_privileges(now.mode)
            if mode != now.mode and not valid & _FATTR_MODE:
                changes.mode = mode
            elif not asked:  # asked only to drop what is not there
                self._shim.reply_attr(unique, now)
                return
        handle = numbers[1] if valid & _FATTR_FH else 0
        self._shim.reply_attr(unique, await self._fs.setattr(ino, changes, handle, who))

    async def statfs(self, unique: int, who: Caller, _ino: int) -> None:
        said = await self._fs.statfs(who)
        answer = _STATFS.pack(
            said.blocks,
            said.blocks_free,
            said.blocks_available,
            said.files,
            said.files_free,
            said.block_size,
            said.name_max,
            said.block_size,
        )
        self._shim.reply_data(unique, answer, len(answer))

    def _reply_sized(self, unique: int, value: bytes, size: int) -> None:
        if size == 0:
            self._shim.reply_count(unique, len(value))
        elif len(value) > size:
            self._shim.reply_error(unique, ERANGE)
        else:
            self._shim.reply_data(unique, value, size)

    async def getxattr(self, unique: int, who: Caller, ino: int, size: int, name: bytes) -> None:
        before = self._xattrs_set
        try:
            value = await self._fs.getxattr(ino, name, who)
        except OSError as error:
            # not where one was set meanwhile
            if error.errno == ENODATA and name == _CAPABILITY and before == self._xattrs_set:
                self._shim.bare(ino)
            raise
        self._reply_sized(unique, value, size)

    async def listxattr(self, unique: int, who: Caller, ino: int, size: int) -> None:
        names = await self._fs.listxattr(ino, who)
        self._reply_sized(unique, b"".join(name + b"\0" for name in names), size)

    async def setxattr(
        self, unique: int, who: Caller, ino: int, _size: int, flags: int, name: bytes, value: bytes
    ) -> None:
        await self._fs.setxattr(ino, name, bytes(value), flags, who)
        self._xattrs_set += 1
        self._shim.not_bare(ino)
        self._shim.reply_error(unique, 0)

    async def removexattr(self, unique: int, who: Caller, ino: int, name: bytes) -> None:
        await self._fs.removexattr(ino, name, who)
        self._shim.reply_error(unique, 0)

    # -- files ------------------------------------------------------------------------------------

    async def open(self, unique: int, who: Caller, ino: int, flags: int, more: int) -> None:
        opened = await self._fs.open(ino, flags, who)
        if more & _OPEN_KILL:
            await drop_privileges(self._fs, ino, who)
        self._shim.reply_open(unique, opened.handle, open_flags(opened))

    async def create(
        self, unique: int, who: Caller, parent: int, flags: int, mode: int, umask: int, name: bytes
    ) -> None:
        who = Caller(who.uid, who.gid, who.pid, umask)
        opened, made = await self._fs.create(parent, name, mode, flags, who)
        self._shim.bare(made.ino)
        self._shim.reply_create(unique, made, opened.handle, open_flags(opened))

    async def tmpfile(
        self, unique: int, who: Caller, parent: int, flags: int, mode: int, umask: int, _name: bytes
    ) -> None:
        who = Caller(who.uid, who.gid, who.pid, umask)
        opened, made = await self._fs.tmpfile(parent, mode, flags, who)
        self._shim.bare(made.ino)
        handle = 0 if self._options.no_open else opened.handle
        self._shim.reply_create(unique, made, handle, open_flags(opened))

    async def read(
        self, unique: int, _who: Caller, ino: int, handle: int, offset: int, size: int
    ) -> None:
        self._shim.reply_data(unique, await self._fs.read(ino, handle, offset, size), size)

    async def write(
        self,
        unique: int,
        who: Caller,
        ino: int,
        handle: int,
        offset: int,
        size: int,
        flags: int,
        data: bytes | memoryview,
    ) -> None:
        if flags & _WRITE_KILL:
            await drop_privileges(self._fs, ino, who)
        taken = await self._fs.write(ino, handle, offset, data)
        self._shim.reply_count(unique, counted(taken, size))

    async def flush(self, unique: int, _who: Caller, ino: int, handle: int) -> None:
        await self._fs.flush(ino, handle)
        self._shim.reply_error(unique, 0)

    async def release(self, unique: int, _who: Caller, ino: int, handle: int) -> None:
        if not self._options.no_open:  # else it is of a file made by tmpfile, the only one opened
            await self._fs.release(ino, handle)
        self._shim.reply_error(unique, 0)

    async def fsync(self, unique: int, _who: Caller, ino: int, handle: int, flags: int) -> None:
        await self._fs.fsync(ino, handle, bool(flags & _FSYNC_DATA))
        self._shim.reply_error(unique, 0)

    async def opendir(self, unique: int, who: Caller, ino: int, _flags: int) -> None:
        self._shim.reply_open(unique, await self._fs.opendir(ino, who), 0)

    async def releasedir(self, unique: int, _who: Caller, ino: int, handle: int) -> None:
        await self._fs.releasedir(ino, handle)
        self._shim.reply_error(unique, 0)

    async def fsyncdir(self, unique: int, _who: Caller, ino: int, handle: int, flags: int) -> None:
        await self._fs.fsyncdir(ino, handle, bool(flags & _FSYNC_DATA))
        self._shim.reply_error(unique, 0)

    async def poll(
        self, unique: int, _who: Caller, ino: int, handle: int, kernel: int, flags: int, events: int
    ) -> None:
        poller = _KernelPoller(self._shim.notify_poll, kernel) if flags & _POLL_NOTIFY else None
        ready = await self._fs.poll(ino, handle, events, poller)
        self._shim.reply_count(unique, ready & 0xFFFFFFFF)

    async def fallocate(
        self, unique: int, _who: Caller, ino: int, handle: int, offset: int, length: int, mode: int
    ) -> None:
        await self._fs.fallocate(ino, handle, offset, length, mode)
        self._shim.reply_error(unique, 0)

    async def lseek(
        self, unique: int, _who: Caller, ino: int, handle: int, offset: int, whence: int
    ) -> None:
        found = await self._fs.lseek(ino, handle, offset, whence)
        self._shim.reply_data(unique, _SEEK.pack(found), _SEEK.size)

    async def copy_file_range(
        self,
        unique: int,
        _who: Caller,
        ino: int,
        _handle: int,
        offset: int,
        target: int,
        _target_handle: int,
        target_offset: int,
        length: int,
        _flags: int,
    ) -> None:
        length = min(length, _COPY_MAX)
        copied = await self._fs.copy_file_range(ino, offset, target, target_offset, length)
        self._shim.reply_count(unique, counted(copied, length))
