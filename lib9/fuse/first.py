"""Mount first, import after: a command is back before its daemon has imported anything.

The kernel queues what is asked of a mount until someone answers. So the command mounts (a few system
calls), forks and returns; the child imports and serves. Import nothing heavy before calling this, and
start no threads.
"""

import os
import select
import sys
from collections.abc import Callable
from typing import NoReturn

from lib9.errors import Exit, SpawngridError, single_error
from lib9.fuse import mounts
from lib9.fuse.attach import Attached, attach
from lib9.fuse.errors import DaemonFailed, MountFailed, NotMounted
from lib9.fuse.options import MountOptions
from lib9.telling import error_line, exit_status

Daemon = Callable[[Attached, Callable[[], None]], None]

_READY = b"ready"
_MESSAGE_MAX = 4096


def mount_first(
    mountpoint: bytes,
    options: MountOptions,
    daemon: Daemon,
    *,
    log: bytes = b"/dev/null",
    grace_seconds: float = 0.0,
) -> Attached:
    """Mount, run `daemon(attached, ready)` in a process of its own, and return.

    `daemon` imports what it needs and serves `attached` until it is unmounted (`session.serve` takes
    it as a mount point); it may call `ready` when it answers. Its standard input is empty, its output
    and errors go to the end of the file `log`. It has a session of its own and no terminal.

    Returns when the daemon is ready or `grace_seconds` are over, whichever is first; until then a
    failure of the daemon is raised here as DaemonFailed, with its exit status. Whenever the daemon
    fails, the mount goes away: what waits for it gets an error. Afterwards only `log` says why.
    MountFailed; OSError if nothing can be written to `log`.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    with os.fdopen(os.open(log, flags, 0o600), "wb", buffering=0) as said:
        attached = attach(mountpoint, options)
        reader, writer = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            child = os.fork()
        except OSError as error:
            mounts.unmount(attached.point, lazy=True)
            raise MountFailed(f"cannot fork: {error.strerror}") from None
        if child == 0:
            os.close(reader)
            _be_daemon(attached, daemon, said.fileno(), writer)
    os.close(writer)
    os.close(attached.descriptor)
    try:
        _wait(reader, grace_seconds, attached.point)
    finally:
        os.close(reader)
    return attached


def _wait(reader: int, seconds: float, point: bytes) -> None:
    poller = select.poll()
    poller.register(reader, select.POLLIN)
    if not poller.poll(seconds * 1000):
        return
    said = os.read(reader, _MESSAGE_MAX)
    if said == _READY:
        return
    status, _, why = os.fsdecode(said).partition(" ")
    if not status:
        raise MountFailed(f"{os.fsdecode(point)}: the daemon ended")
    raise DaemonFailed(f"{os.fsdecode(point)}: {why}", Exit(int(status)))


def _be_daemon(attached: Attached, daemon: Daemon, said: int, writer: int) -> NoReturn:
    """Run in the child; never return into the command's code."""
    status = 1
    try:
        os.setsid()
        _redirect(said)
        status = _serve(attached, daemon, writer)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _serve(attached: Attached, daemon: Daemon, writer: int) -> int:
    def ready() -> None:
        _say(writer, _READY)

    try:
        daemon(attached, ready)
    except Exception as raised:  # noqa: BLE001 told, logged, and the mount taken away
        error = single_error(raised)
        status = exit_status(error)
        told = isinstance(error, SpawngridError | OSError)
        kind = "" if told else f"{type(error).__name__}: "
        _say(writer, os.fsencode(f"{int(status)} {kind}{error_line(error)}"))
        if told:
            print(f"daemon: {error}", file=sys.stderr)
        else:
            import traceback

            traceback.print_exc()
        _leave(attached)
        return int(status)
    return 0


def _leave(attached: Attached) -> None:
    """Take away the mount if it is still this one."""
    try:
        mount = mounts.fuse_mount_at(attached.point)
        if mount is not None and mount.minor == attached.minor:
            mounts.unmount(attached.point, lazy=True)
    except (OSError, MountFailed, NotMounted) as error:
        print(f"daemon: cannot unmount: {error}", file=sys.stderr)


def _say(writer: int, message: bytes) -> None:
    try:
        os.write(writer, message[:_MESSAGE_MAX])
    except (BrokenPipeError, BlockingIOError):  # the command has returned
        return


def _redirect(said: int) -> None:
    nothing = os.open("/dev/null", os.O_RDWR)
    for source, target in ((nothing, 0), (said, 1), (said, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(said)
