"""Unmounting: with the daemon's consent, where unsaved changes are looked for; or by force."""

import os
import select
import signal
import time
from contextlib import suppress
from typing import Final

from fossil_fs.mounting.console import Console
from fossil_fs.mounting.registry import Registry, Running, is_alive
from lib9.errors import Exit, SpawngridError
from lib9.fuse import mounts
from lib9.fuse.errors import MountBusy
from lib9.fuse.mounts import Mount

END_SECONDS_MAX: Final = 10.0  # from the console's end to the process's
COPY_SECONDS: Final = 10.0  # after it, a connection that the kernel still has is mounted elsewhere
_POLL_SECONDS: Final = 0.005


class Unsaved(SpawngridError):
    """The mount has changes that no score has."""

    exit_code = Exit.UNSAVED


class MountedElsewhere(SpawngridError):
    """Another mount namespace has a copy of what was unmounted here: the daemon serves on."""

    exit_code = Exit.MOUNT


def unmount(console: Console, running: Running, *, discard: bool) -> int:
    """Unmount, and return how many snapshots the scratch keeps when the daemon has let go of it.

    Unsaved if there are unsaved changes and not `discard`; MountBusy if something uses the mount:
    then all is as before. MountedElsewhere if it is unmounted here, but the daemon does not end.
    """
    status = console.ask("status")[0]
    if not discard and "unsaved=1" in status:
        raise Unsaved(
            f"{running.mnt}: unsaved changes: --save [NAME] or --discard"
            " (umount(8) keeps them for fossil-scratch)"
        )
    console.ask("discard" if discard else "keep")
    try:
        mounts.unmount(os.fsencode(running.mnt))
    except SpawngridError as error:
        console.ask("keep")
        if isinstance(error, MountBusy):
            raise MountBusy(f"{error} (`fossil-con {running.mnt} who` says by whom)") from None
        raise
    while not console.wait_for_end(COPY_SECONDS):
        if mounts.is_connected(running.minor):
            raise MountedElsewhere(
                f"{running.mnt}: unmounted here; process {running.pid} serves it on to another"
                " mount namespace"
            )
    deadline = time.monotonic() + END_SECONDS_MAX
    while is_alive(running.pid) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)  # it tidies up: its record, its scratch, its store
    if discard:
        return 0
    return sum(int(line[10:]) for line in status if line.startswith("snapshots="))


def unmount_by_force(mount: Mount, registry: Registry) -> str:
    """End a mount whose daemon hangs, or is gone: all that waits for it fails, the scratch stays.

    The daemon is asked nothing. One that does not see the end of its mount is killed: what it had
    acknowledged is in the scratch's journal. Returns what happened to it.
    """
    running = next((r for r in registry.all() if r.minor == mount.minor), None)
    daemon = -1 if running is None else _daemon_of(running)
    try:
        with suppress(PermissionError):  # then the end of its daemon has to do
            mounts.abort(mount.minor)
        mounts.unmount(mount.point, lazy=True)
        if running is None:
            return "unmounted; its daemon is not known here"
        if daemon < 0:
            registry.remove(running.id)
            return f"unmounted; its daemon was gone; see fossil-scratch, {running.scratch}"
        if _ended(daemon, END_SECONDS_MAX):
            return "unmounted; its daemon ended"
        signal.pidfd_send_signal(daemon, signal.SIGKILL)
        _ended(daemon, END_SECONDS_MAX)
        registry.remove(running.id)
        return (
            f"unmounted; its daemon, process {running.pid}, hung and was killed: see fossil-scratch"
        )
    finally:
        if daemon >= 0:
            os.close(daemon)


def _daemon_of(running: Running) -> int:
    """Return a pidfd of the process that holds the mount's scratch; -1 if there is none."""
    try:
        daemon = os.pidfd_open(running.pid)
    except ProcessLookupError:
        return -1
    for name in _listed(f"/proc/{running.pid}/fd"):
        with suppress(OSError):
            held = os.readlink(f"/proc/{running.pid}/fd/{name}")
            if held == running.scratch or held.startswith(running.scratch + "/"):
                return daemon
    os.close(daemon)  # another process has its number now
    return -1


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _ended(daemon: int, seconds: float) -> bool:
    poller = select.poll()
    poller.register(daemon, select.POLLIN)
    return bool(poller.poll(seconds * 1000))
