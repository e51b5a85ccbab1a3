"""One mount from beginning to end: store, scratch, file system, engine, console, commits.

The scratch outlives the daemon unless nothing is in it that the base does not have, or `discard` was
asked for. Whatever ends the daemon - umount(8), a signal, the console - goes the same way out.
"""

import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import trio

from fossil_fs.filesystem import FossilFilesystem, open_filesystem
from fossil_fs.mounting.options import HALTING, Mounting, mount_options
from fossil_fs.mounting.registry import Registry
from fossil_fs.mounting.service import Command, serve_console
from fossil_fs.overlay.save import SaveRunning
from fossil_fs.scratch.place import remove_tree
from fossil_fs.scratch.scratch import Scratch
from lib9.errors import SpawngridError
from lib9.fuse.attach import Attached
from lib9.fuse.session import Served, serve
from venti_store.interfaces import BlockStore
from venti_store.open import open_store
from venti_store.score import FAMILIES, format_score

COMMIT_SECONDS_MAX: Final = 5.0  # how long a change waits for its commit (the journal has it)
_TICK_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


class NothingBegun(SpawngridError):
    """The result was asked for of a save that nobody began."""


@dataclass(slots=True)
class _Begun:
    """A save in two steps: the state is taken, then its blocks are stored."""

    taken: trio.Event = field(default_factory=trio.Event)
    done: trio.Event = field(default_factory=trio.Event)
    score: str = ""
    error: SpawngridError | OSError | None = None


class Daemon:
    """A mount that runs."""

    def __init__(self, mounting: Mounting, scratch: Scratch, filesystem: FossilFilesystem) -> None:
        self.mounting = mounting
        self.scratch = scratch
        self.filesystem = filesystem
        self.options = mount_options(mounting, scratch.identity)
        self.discard = mounting.read_only
        self._saving = trio.Lock()
        self._begun: _Begun | None = None
        self._nursery: trio.Nursery | None = None
        self._halt = trio.CancelScope()
        self._started = time.time()
        self._engine = ""

    def commands(self) -> dict[str, Command]:
        """Return what the console can be asked."""
        return {
            "status": self._status,
            "save": self._save,
            "epoch": self._epoch,
            "saved": self._saved,
            "sync": self._sync,
            "discard": self._discard,
            "keep": self._keep,
            "halt": self._halt_now,
        }

    async def _status(self, _words: list[str]) -> tuple[list[str], str]:
        scratch = self.scratch
        table = self.filesystem.overlay.table
        facts = {
            "score": scratch.base,
            "unsaved": int(not scratch.is_clean),
            "used": scratch.used(),
            "size": scratch.budget.size,
            "inodes": len(table),
            "saves": self.filesystem.overlay.saves,
            "failed": self.filesystem.overlay.base.faults_failed,
            "since": int(self._started),
            "engine": self._engine,
        }
        return [f"{word}={value}" for word, value in facts.items()], ""

    async def _save(self, _words: list[str]) -> tuple[list[str], str]:
        async with self._saving:
            score = await self.filesystem.saver.save()
        return [], format_score(score)

    async def _epoch(self, _words: list[str]) -> tuple[list[str], str]:
        """Begin a save; answered when the state is held, `saved` gives the score."""
        if self._begun is not None and not self._begun.done.is_set():
            raise SaveRunning("a save is running already")
        self._begun = begun = _Begun()
        assert self._nursery is not None  # the console is served in it
        self._nursery.start_soon(self._go_on_saving, begun)
        await begun.taken.wait()
        if begun.error is not None:
            raise begun.error
        return [], ""

    async def _go_on_saving(self, begun: "_Begun") -> None:
        try:
            async with self._saving:
                begun.score = format_score(await self.filesystem.saver.save(begun.taken.set))
        except (SpawngridError, OSError) as error:
            begun.error = error  # for whoever asks `saved`
        finally:
            begun.taken.set()
            begun.done.set()

    async def _saved(self, _words: list[str]) -> tuple[list[str], str]:
        begun = self._begun
        if begun is None:
            raise NothingBegun("no save was begun")
        await begun.done.wait()
        if begun.error is not None:
            raise begun.error
        return [], begun.score

    async def _sync(self, _words: list[str]) -> tuple[list[str], str]:
        await self.scratch.commit_gently()
        return [], ""

    async def _discard(self, _words: list[str]) -> tuple[list[str], str]:
        self.discard = True
        return [], ""

    async def _keep(self, _words: list[str]) -> tuple[list[str], str]:
        self.discard = self.mounting.read_only
        return [], ""

    async def _halt_now(self, _words: list[str]) -> tuple[list[str], str]:
        self._halt.cancel()
        return [], ""

    async def run(
        self, where: Attached, registry: Registry, ready: Callable[[Served], None]
    ) -> None:
        """Serve until the mount is gone or a signal comes; then leave the scratch in order."""
        console = registry.path(self.mounting.id, "sock")

        def announce(served: Served) -> None:
            self._engine = served.engine
            ready(served)

        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._halt_on_signal)
            nursery.start_soon(self._keep_committed)
            await nursery.start(serve_console_task, console, self.commands())
            with self._halt:
                await serve(self.filesystem, where, self.options, ready=announce)
            async with self._saving:  # a save that runs is worth waiting for
                nursery.cancel_scope.cancel()

    async def _halt_on_signal(self) -> None:
        with trio.open_signal_receiver(*HALTING) as signals:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HALTING)  # one may have come already
            async for _ in signals:
                self._halt.cancel()

    async def _keep_committed(self) -> None:
        """Commit when enough has changed, and never later than COMMIT_SECONDS_MAX."""
        scratch = self.scratch
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
        if self.scratch.close_if_possible() or self.discard:
            remove_tree(self.mounting.scratch)
            with suppress(OSError):  # the folder of scratches goes with its last one
                os.rmdir(os.path.dirname(self.mounting.scratch))


async def serve_console_task(
    path: str,
    commands: dict[str, Command],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    await serve_console(path, commands, task_status=task_status)


async def run_mount(
    mounting: Mounting,
    registry: Registry,
    ready: Callable[[Served], None],
    attached: Attached,
) -> None:
    """Serve a mount until its end.

    Raises what keeps it from being served; see `open_filesystem`.
    """
    scratch = Scratch(mounting.scratch)
    try:
        family = FAMILIES.get(scratch.identity.family)
        store: BlockStore = await open_store(scratch.identity.store, family)
    except BaseException:
        scratch.abandon()
        raise
    try:
        try:
            filesystem = await open_filesystem(store, scratch)
            daemon = Daemon(mounting, scratch, filesystem)
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
