"""A mount begins: the kernel has it at once, its daemon is a process of its own. Imports nothing heavy."""

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from fossil_fs.mounting.options import HALTING, Mounting, mount_options
from fossil_fs.mounting.registry import Registry, Running
from fossil_fs.scratch.place import Identity
from lib9.fuse.attach import Attached, attach
from lib9.fuse.first import mount_first
from venti_store.errors import NoSuchBlock
from venti_store.interfaces import Key
from venti_store.kind import Kind
from venti_store.score import FAMILY_OF_SIZE, Score, format_score

START_SECONDS_MAX: Final = 30.0  # for a start that may fail: a far store, a scratch to resume


def check_root(path: str, score: Score) -> None:
    """Make sure that a store on this machine has the root; NoSuchBlock, or what opening it raises."""
    from venti_store.stores.lmdb.peek import holds

    if not holds(path, FAMILY_OF_SIZE[len(score)], Key(score, Kind.ROOT)):
        raise NoSuchBlock(f"{format_score(score)}: no root of this score in {path}")


def start_mount(
    wanted: Mounting,
    identity: Identity,
    registry: Registry,
    *,
    foreground: bool = False,
    wait: bool = False,
    kill_at: str = "",
    stock: bool = False,
    not_ours: Sequence[int] = (),
) -> None:
    """Mount and return when it can be used; in the foreground, when it is over.

    What is asked of the mount before its daemon has started waits in the kernel. With `wait` this
    waits too: for whatever may still go wrong. `kill_at`: a fault of the daemon (lib9.faults). `stock`:
    with the stock engine. `not_ours`: descriptors that the daemon must not keep.
    """
    registry.prepare()
    registry.clean()
    options = mount_options(wanted, identity)

    def serve(
        attached: Attached, ready: Callable[[], None], prepare: Callable[[], None] = lambda: None
    ) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, HALTING)  # until the daemon listens to them
        registry.add(_running(wanted, identity, attached))
        if not wait:
            ready()  # what comes now takes longer than all before
        prepare()
        import trio

        from fossil_fs.mounting.daemon import run_mount
        from lib9 import faults

        if kill_at:
            faults.arm_kill(kill_at)
        try:
            trio.run(run_mount, wanted, registry, lambda _served: ready(), attached, stock)
        finally:
            registry.remove(wanted.id)

    if foreground:
        serve(attach(wanted.mnt, options), lambda: None)
        return
    log = registry.path(wanted.id, "log")

    def log_to_file() -> None:
        from fossil_fs.mounting.logfile import log_to

        log_to(log, "fossil-mount")
        os.chdir("/")

    def serve_and_log(attached: Attached, ready: Callable[[], None]) -> None:
        for descriptor in not_ours:
            with suppress(OSError):
                os.close(descriptor)
        try:
            serve(attached, ready, log_to_file)
        finally:
            from fossil_fs.mounting.logfile import remove_if_empty

            remove_if_empty(log)

    mount_first(
        wanted.mnt, options, serve_and_log, log=os.fsencode(log), grace_seconds=START_SECONDS_MAX
    )


def _running(wanted: Mounting, identity: Identity, attached: Attached) -> Running:
    """Return the record of the mount that this process serves."""
    return Running(
        id=wanted.id,
        mnt=os.fsdecode(attached.point),
        pid=os.getpid(),
        minor=attached.minor,
        scratch=os.fsdecode(wanted.scratch),
        store=identity.store,
        score=identity.base,
    )
