"""One mount from beginning to end: store, scratch, file system, engine, console, commits.

The scratch outlives the daemon unless nothing is in it that the base does not have, or `discard` was
asked for. Whatever ends the daemon - umount(8), a signal, the console - goes the same way out.
"""

import logging
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import trio

from fossil_fs.control.joined import Joined
from fossil_fs.control.tree import ControlTree
from fossil_fs.filesystem import open_filesystem
from fossil_fs.mounting.control import fill
from fossil_fs.mounting.halting import end_halts
from fossil_fs.mounting.history import History
from fossil_fs.mounting.looking import status_lines
from fossil_fs.mounting.mounted import Mounted
from fossil_fs.mounting.options import HALTING, Mounting, mount_options
from fossil_fs.mounting.registry import Registry
from fossil_fs.mounting.service import serve_console
from fossil_fs.mounting.snapping import Clockwork
from fossil_fs.mounting.table import WORDS
from fossil_fs.mounting.word import say
from fossil_fs.overlay.base import FAULT_SECONDS_MAX
from fossil_fs.scratch.place import remove_tree
from fossil_fs.scratch.scratch import Scratch
from fossil_fs.shifted import Shifted
from lib9.fuse.attach import Attached
from lib9.fuse.interface import Operations
from lib9.fuse.options import MountOptions
from lib9.fuse.session import Served, serve
from venti_store.open import open_store
from venti_store.score import FAMILIES
from venti_store.stores.watched import WatchedStore

COMMIT_SECONDS_MAX: Final = 5.0  # how long a change waits for its commit (the journal has it)
_TICK_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


class Daemon:
    """Serves a mount."""

    def __init__(self, mounted: Mounted, options: MountOptions, *, stock: bool = False) -> None:
        self.mounted = mounted
        self.options = options
        self.stock = stock
        fill(mounted.control, self._say, self._shown())
        History(mounted.filesystem).fill(mounted.control)

    def _shown(self) -> dict[str, Callable[[], Sequence[str]]]:
        mounted = self.mounted
        return {"status": lambda: status_lines(mounted), "score": lambda: [mounted.scratch.base]}

    async def _say(self, line: str) -> Sequence[str]:
        return (await say(WORDS, self.mounted, line)).all

    def operations(self) -> Operations:
        """Return the file system with its control directory, if it is to have one."""
        mounted = self.mounted
        name, shift = mounted.mounting.control, mounted.mounting.id_shift
        tree: Operations = mounted.filesystem
        if name:
            tree = Joined(tree, ControlTree(mounted.control), name)
        return tree if shift is None else Shifted(tree, shift)

    async def run(
        self, where: Attached, registry: Registry, ready: Callable[[Served], None]
    ) -> None:
        """Serve until the mount is gone or a signal comes; then leave the scratch in order."""
        mounted = self.mounted
        console = registry.path(mounted.mounting.id, "sock")

        def starting(served: Served) -> None:
            mounted.served = served

        async with trio.open_nursery() as nursery:
            mounted.background = nursery
            nursery.start_soon(self._end_on_signal)
            nursery.start_soon(self._keep_committed)
            nursery.start_soon(end_halts, mounted)
            if not mounted.mounting.read_only:
                nursery.start_soon(Clockwork(mounted).run)
            await nursery.start(serve_console, console, WORDS, mounted)
            with mounted.over:
                await serve(
                    self.operations(),
                    where,
                    self.options,
                    starting=starting,
                    ready=ready,
                    stock=self.stock,
                )
            async with mounted.saving:  # a save that runs is worth waiting for
                nursery.cancel_scope.cancel()

    async def _end_on_signal(self) -> None:
        with trio.open_signal_receiver(*HALTING) as signals:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HALTING)  # one may have come already
            async for _ in signals:
                self.mounted.over.cancel()

    async def _keep_committed(self) -> None:
        """Commit when enough has changed, and never later than COMMIT_SECONDS_MAX."""
        scratch = self.mounted.scratch
        last = trio.current_time()
        while True:
            await trio.sleep(_TICK_SECONDS)
            now = trio.current_time()
            late = now - last >= COMMIT_SECONDS_MAX
            if scratch.commit_is_due or (late and scratch.is_uncommitted):
                try:
                    await scratch.commit_gently()
                except OSError as error:
                    log.warning("scratch: %s: changes are in its journal only", error)
            if late or not scratch.is_uncommitted:
                last = now

    def close(self) -> None:
        """Let go of the scratch; remove it when there is nothing in it to keep."""
        mounted = self.mounted
        if mounted.scratch.close_if_possible() or mounted.discard:
            place = mounted.mounting.scratch
            remove_tree(place)
            with suppress(OSError):  # the folder of scratches goes with its last one
                os.rmdir(os.path.dirname(place))


async def run_mount(
    mounting: Mounting,
    registry: Registry,
    ready: Callable[[Served], None],
    attached: Attached,
    stock: bool = False,
) -> None:
    """Serve a mount until its end; `stock`: with the stock engine.

    Raises what keeps it from being served; see `open_filesystem`.
    """
    scratch = Scratch(mounting.scratch)
    try:
        family = FAMILIES.get(scratch.identity.family)
        store = WatchedStore(await open_store(scratch.identity.store, family))
    except BaseException:
        scratch.abandon()
        raise
    try:
        try:
            filesystem = await open_filesystem(
                store, scratch, fault_seconds=mounting.fault_seconds or FAULT_SECONDS_MAX
            )
            mounted = Mounted(mounting, scratch, filesystem, store)
            daemon = Daemon(mounted, mount_options(mounting, scratch.identity), stock=stock)
        except BaseException:
            scratch.abandon()
            raise
        try:
            await daemon.run(attached, registry, ready)
        finally:
            daemon.close()
    finally:
        with trio.CancelScope(shield=True):
            await store.aclose()
