"""One mounted file system from hello to good-bye: `serve`.

A process serves one mount at a time: pyfuse3 keeps its state in globals. The order at the end matters:
the mount leaves the name space while requests are still answered (unmounting writes dirty pages back),
then the loop ends, then the file system is told.
"""

import logging
import os
import select
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from threading import Lock
from types import ModuleType

import trio

from lib9.fuse import hello, mounts
from lib9.fuse.attach import Attached, attach
from lib9.fuse.errors import MountBusy, MountFailed, NotMounted
from lib9.fuse.gate import Gate
from lib9.fuse.interface import Caller, Operations
from lib9.fuse.interrupts import Interrupts
from lib9.fuse.library import SHIM_SOURCES, pyfuse3, shim
from lib9.fuse.looking import Lookout
from lib9.fuse.loop import LoopTrio
from lib9.fuse.options import MountOptions
from lib9.fuse.raw import RawHandlers
from lib9.fuse.stock import StockHandlers
from lib9.latencies import Latencies

_log = logging.getLogger("lib9.fuse")
_SPARE_TASKS = 16  # beyond the waiting requests that are allowed: for the others and for interrupts
_LEAVE_SECONDS = 3.0  # for requests under way when the mount is taken down
_one_mount = Lock()


class _Milestones:
    """What happens once in the life of a session."""

    def __init__(self) -> None:
        self.said_hello = trio.Event()  # the kernel was answered
        self.gone = (
            trio.Event()
        )  # it asks nothing any more: unmounted or aborted (the shim sees it)
        self.ended = trio.Event()  # the loop and all handlers have ended


class Served:
    """A mount that is being served: what `ready` is told about it."""

    def __init__(self, attached: Attached) -> None:
        self.point = attached.point
        self.minor = attached.minor  # of the connection under /sys/fs/fuse/connections
        self.descriptor = attached.descriptor
        self.engine = "stock"  # or "shim"
        self.interrupts = Interrupts()
        self.gate = Gate()
        self.latencies = Latencies()


async def serve(
    operations: Operations,
    mountpoint: bytes | Attached,
    options: MountOptions,
    *,
    starting: Callable[[Served], None] = lambda _served: None,
    ready: Callable[[Served], None] = lambda _served: None,
    stock: bool = False,
) -> None:
    """Serve `operations` until the mount point is unmounted; cancelling this unmounts it.

    `mountpoint` may be a mount that `attach` (or `mount_first`) made before. `starting` is called
    once, before any request is answered; `ready` once, when the kernel has been answered and the
    mount can be used.
    MountFailed if it cannot be mounted. A mount that is still in use when this is cancelled leaves
    the name space at once and breaks for those who use it.
    """
    attached = mountpoint if isinstance(mountpoint, Attached) else attach(mountpoint, options)
    milestones = _Milestones()
    try:
        async with _session(operations, attached, options, milestones, stock) as served:
            starting(served)
            await _run(served, options, milestones, ready)
    finally:
        with trio.CancelScope(shield=True):
            await operations.destroy()


async def _run(
    served: Served,
    options: MountOptions,
    milestones: _Milestones,
    ready: Callable[[Served], None],
) -> None:
    """Answer requests until the mount is gone; when cancelled, take it down first."""
    loop = trio.CancelScope(shield=True)  # requests are answered while the mount is taken down

    async def answer_requests() -> None:
        try:
            with loop:
                await pyfuse3.main(max_tasks=options.max_tasks + _SPARE_TASKS)
        finally:
            milestones.ended.set()

    async def announce() -> None:
        await milestones.said_hello.wait()
        _set_read_ahead(served.minor, options.read_ahead_kib)
        ready(served)

    async def end_what_waits() -> None:
        if served.engine == "stock":
            await _connection_ended(served.descriptor)
        else:
            await milestones.gone.wait()
        await trio.sleep(_LEAVE_SECONDS)
        loop.cancel()

    async with trio.open_nursery() as nursery:
        for task in (answer_requests, announce, end_what_waits, served.interrupts.watch):
            nursery.start_soon(task)
        try:
            await milestones.ended.wait()
        finally:
            served.gate.open()
            if not milestones.ended.is_set():
                with trio.CancelScope(shield=True):
                    await _leave(served.point, milestones.ended)
            loop.cancel()
            nursery.cancel_scope.cancel()


async def _connection_ended(descriptor: int) -> None:
    """Return when the kernel has ended the connection: then the device reports an error, asked or not."""
    with select.epoll() as errors:
        # no events: requests do not wake it, and pyfuse3 alone waits for the device itself
        errors.register(descriptor, 0)
        await trio.lowlevel.wait_readable(errors.fileno())


@asynccontextmanager
async def _session(
    operations: Operations,
    attached: Attached,
    options: MountOptions,
    milestones: _Milestones,
    stock: bool,
) -> AsyncIterator[Served]:
    """libfuse's session over the descriptor; at the end the descriptor is closed."""
    if not _one_mount.acquire(blocking=False):
        raise RuntimeError("a process serves one mount at a time")
    with ExitStack() as stack:
        stack.callback(_one_mount.release)
        served = Served(attached)
        handlers = StockHandlers(
            operations, options, milestones.said_hello.set, served.gate, served.latencies
        )
        pyfuse3.init(handlers, f"/dev/fd/{attached.descriptor}", set())
        stack.callback(pyfuse3.close, unmount=False)
        bridge = None if stock else _working_shim()
        if bridge is not None:
            stack.push(_use_shim(bridge, handlers, operations, options, milestones, served))
            os.set_blocking(attached.descriptor, False)
            served.engine = "shim"
        yield served


def _working_shim() -> ModuleType | None:
    """The self-test: the shim is built from these sources, and sits between pyfuse3 and libfuse."""
    if shim is None:
        _log.warning("engine: stock pyfuse3: the extension module lib9.fuse._shim is not built")
    elif (built_from := getattr(shim, "sources", "others")) != SHIM_SOURCES:
        _log.warning(
            "engine: stock pyfuse3: the extension module lib9.fuse._shim does not fit, "
            "build it anew: it was made from the C sources %s, not %s",
            built_from,
            SHIM_SOURCES,
        )
    elif not shim.bound():
        _log.warning("engine: stock pyfuse3: its session does not pass through the shim")
    else:
        return shim
    return None


def _use_shim(
    bridge: ModuleType,
    handlers: StockHandlers,
    operations: Operations,
    options: MountOptions,
    milestones: _Milestones,
    served: Served,
) -> ExitStack:
    """Put the shim to work; return what ends that."""
    raw = RawHandlers(
        operations,
        options,
        bridge,
        milestones.gone.set,
        served.interrupts,
        served.gate,
        served.latencies,
    )
    with ExitStack() as stack:
        stack.callback(bridge.deactivate)
        stack.callback(setattr, pyfuse3, "trio", trio)
        _activate(bridge, handlers, raw, options, milestones)
        return stack.pop_all()


def _activate(
    bridge: ModuleType,
    handlers: StockHandlers,
    raw: RawHandlers,
    options: MountOptions,
    milestones: _Milestones,
) -> None:
    def on_init(_major: int, minor: int, _read_ahead: int, offered: int) -> bytes:
        milestones.said_hello.set()
        return hello.init_answer(minor, offered, options)

    bridge.activate(on_init, raw.interrupt, raw.forget, raw.wait, raw.fail, Caller)
    raw.register()
    lookout = Lookout(eager=options.eager)
    if options.eager:
        bridge.watch(lookout.decide)
    pyfuse3.trio = LoopTrio(bridge.serve, lookout)  # type: ignore[attr-defined]
    handlers.forget = bridge.take  # type: ignore[method-assign]


async def _leave(point: bytes, ended: trio.Event) -> None:
    """Take the mount out of the name space while its requests are still answered."""
    try:
        await trio.to_thread.run_sync(mounts.unmount, point)
    except MountBusy:
        _log.warning("%s: in use: those who use it lose it", point.decode(errors="replace"))
        try:
            await trio.to_thread.run_sync(lambda: mounts.unmount(point, lazy=True))
        except (MountFailed, NotMounted) as error:
            _log.error("%s", error)
    except (MountFailed, NotMounted) as error:
        _log.error("%s", error)
    with trio.move_on_after(_LEAVE_SECONDS):
        await ended.wait()
        return


def _set_read_ahead(minor: int, kib: int) -> None:
    mount = next((m for m in mounts.read_mounts() if m.is_fuse and m.minor == minor), None)
    if mount is None or not mounts.set_read_ahead(mount, kib):
        _log.info("read-ahead stays at the kernel's default: only root may set it")
