"""The keeper: a process with everything imported, from which environments are forked.

It also carries what is written to the shells' input hubs into their pipes, and passes on interrupts. It holds
no state: one that is killed is started anew by whoever needs it, and finds all environments in their records.
No threads and no event loop, or nothing could be forked from it.
"""

import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from hubfs.shell.hubs import NOTE_SIZE_MAX
from lib9 import faults
from lib9.errors import single_error
from lib9.places import use
from lib9.sockets import socket_path
from lib9.telling import error_line, exit_status
from spawngrid.environment import hubs, orders, record, starting
from spawngrid.environment.pids import shell_pid
from spawngrid.environment.places import Own, Places
from spawngrid.environment.runtimes.choosing import ALL

_CHUNK: Final = 64 << 10
_BACKLOG: Final = 64
_LOOK_SECONDS: Final = 10.0  # how soon a keeper that was given up ends
_ORDER_SECONDS_MAX: Final = 5.0  # for the one line of who has connected


@dataclass(slots=True)
class _Watched:
    """One environment's input: what was read from the hub and did not fit into the pipe yet."""

    own: Own
    hub: int
    note: int
    pipe: int
    waiting: bytes = b""
    waking: bool = False  # a shell is being started in place of one that has ended


class Keeper:
    """The poll loop and what it has open."""

    def __init__(self, places: Places, listener: socket.socket, kill_at: str) -> None:
        self._places = places
        self._listener = listener
        self._kill_at = kill_at
        self._poll = select.poll()
        self._watched: dict[str, _Watched] = {}
        self._readers: dict[int, Callable[[int], None]] = {}
        self._poll.register(listener, select.POLLIN)

    def run(self) -> None:
        """Serve until told to end, or until another has its place."""
        for environment_id in record.ids(self._places):
            with suppress(OSError):
                self._watch(self._places.of(environment_id))
        gc.collect()
        gc.freeze()
        own = os.stat(self._places.keeper).st_ino
        while self._is_at(own):
            for descriptor, events in self._poll.poll(_LOOK_SECONDS * 1000):
                if descriptor == self._listener.fileno():
                    self._accept()
                elif descriptor in self._readers:
                    self._readers[descriptor](events)

    def _is_at(self, inode: int) -> bool:
        """Tell whether this keeper's socket is still in its place: else nobody can find it any more."""
        try:
            return os.stat(self._places.keeper).st_ino == inode
        except FileNotFoundError:
            return False

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(_ORDER_SECONDS_MAX)
            try:
                order, descriptors = orders.receive(connection)
            except (orders.KeeperGone, OSError, ValueError):
                return
            try:
                self._start(connection, self._places.of(str(order.get("id"))), descriptors)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def _start(self, connection: socket.socket, own: Own, descriptors: list[int]) -> None:
        try:
            hubs.ensure_mounted(self._places)
            hubs.make(own)
            os.mkfifo(own.path(starting.PIPE), 0o600)
            self._watch(own)
            child = os.fork()
        except Exception as error:  # noqa: BLE001 told to who asked
            _answer_error(connection, error)
            return
        if child == 0:
            self._be_starter(connection, own, descriptors)
        self._reap_later(child, lambda: None)

    def _reap_later(self, child: int, then: Callable[[], None]) -> None:
        ended = os.pidfd_open(child)

        def reap(_events: int) -> None:
            os.waitpid(child, 0)
            del self._readers[ended]
            self._poll.unregister(ended)
            os.close(ended)
            then()

        self._readers[ended] = reap
        self._poll.register(ended, select.POLLIN)

    def _be_starter(self, connection: socket.socket, own: Own, descriptors: list[int]) -> None:
        """Run in the child; never return into the loop."""
        try:
            self._let_go()
            not_ours = (connection.fileno(), *descriptors)
            starting.start(
                own,
                kill_at=self._kill_at,
                not_ours=not_ours,
                ready=lambda: orders.send(connection, {"ok": True}),
            )
        except Exception as error:  # noqa: BLE001 told to who asked
            _answer_error(connection, error)
        finally:
            sys.stderr.flush()
            os._exit(0)

    def _let_go(self) -> None:
        """In a child: close all that is the loop's."""
        os.setsid()
        self._listener.close()
        for watched in self._watched.values():
            for descriptor in (watched.hub, watched.note, watched.pipe):
                os.close(descriptor)

    def _watch(self, own: Own) -> None:
        """Carry an environment's input from now on."""
        hub, note = hubs.readers(own)
        try:
            pipe = os.open(own.path(starting.PIPE), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            os.close(hub)
            os.close(note)
            raise
        watched = _Watched(own, hub, note, pipe)
        self._watched[own.id] = watched
        self._readers[hub] = lambda _events: self._carry(watched)
        self._readers[note] = lambda _events: self._interrupt(watched)
        self._readers[pipe] = lambda _events: self._pour(watched)
        self._poll.register(hub, select.POLLIN)
        self._poll.register(note, select.POLLIN)

    def _unwatch(self, watched: _Watched) -> None:
        self._watched.pop(watched.own.id, None)
        for descriptor in (watched.hub, watched.note, watched.pipe):
            self._readers.pop(descriptor, None)
            with suppress(KeyError):
                self._poll.unregister(descriptor)
            os.close(descriptor)

    def _carry(self, watched: _Watched) -> None:
        """Read what was said to the shell; no more of it before the pipe has taken that."""
        try:
            watched.waiting += os.read(watched.hub, _CHUNK)
        except BlockingIOError:
            return
        except OSError:  # the hub mount is gone
            self._unwatch(watched)
            return
        if not watched.waiting:
            self._unwatch_if_gone(watched)
            return
        self._pour(watched)
        if not watched.waking and not shell_pid(watched.own):
            self._wake(watched)

    def _wake(self, watched: _Watched) -> None:
        """Let a shell read what was said to one that has ended, or has not begun."""
        try:
            child = os.fork()
        except OSError:
            return  # the next line tries again
        if child == 0:
            try:
                self._let_go()
                starting.ensure_shell(watched.own)
            except Exception as error:  # noqa: BLE001 nobody else would hear of it
                sys.stderr.write(f"{watched.own.id}: {error_line(single_error(error))}\n")
            finally:
                sys.stderr.flush()
                os._exit(0)
        watched.waking = True
        self._reap_later(child, lambda: setattr(watched, "waking", False))

    def _unwatch_if_gone(self, watched: _Watched) -> None:
        try:
            gone = os.fstat(watched.hub).st_nlink == 0
        except OSError:
            gone = True
        if gone:
            self._unwatch(watched)

    def _pour(self, watched: _Watched) -> None:
        with suppress(BlockingIOError):
            watched.waiting = watched.waiting[os.write(watched.pipe, watched.waiting) :]
        self._poll.register(watched.hub, 0 if watched.waiting else select.POLLIN)
        if watched.waiting:
            self._poll.register(watched.pipe, select.POLLOUT)
        else:
            with suppress(KeyError):
                self._poll.unregister(watched.pipe)

    def _interrupt(self, watched: _Watched) -> None:
        try:
            note = os.read(watched.note, NOTE_SIZE_MAX)
        except BlockingIOError:
            return
        except OSError:
            self._unwatch(watched)
            return
        if not note:
            self._unwatch_if_gone(watched)
        elif note.split() == [b"interrupt"]:
            _signal_shell(watched.own)


def _signal_shell(own: Own) -> None:
    pid = shell_pid(own)
    if pid:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGINT)


def _answer_error(connection: socket.socket, error: Exception) -> None:
    told = single_error(error)
    with suppress(OSError):
        orders.send(connection, orders.error_message(told, error_line(told), exit_status(told)))


def main(run: str, state: str, kill_at: str) -> int:
    """Become the keeper of the environments of one run directory, in a process of its own."""
    places = Places(run, state)
    _import_all()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if kill_at:
        faults.arm_kill(kill_at)
    ready, say_ready = os.pipe()
    if os.fork():  # whoever started it goes on when the child listens
        os.close(say_ready)
        os._exit(0 if os.read(ready, 1) else 1)
    os.setsid()
    os.umask(0o022)
    with _listen(places.keeper) as listener:
        os.write(say_ready, b".")
        os.close(ready)
        os.close(say_ready)
        Keeper(places, listener, kill_at).run()
    return 0


def _listen(path: str) -> socket.socket:
    """Return a socket at `path`, for root alone; whoever connects sees this process as its owner."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    draft = f"{path}.{os.getpid()}"
    before = os.umask(0o177)
    try:
        with socket_path(draft) as short:
            listener.bind(short)
    finally:
        os.umask(before)
    listener.listen(_BACKLOG)
    os.rename(draft, path)
    return listener


def _import_all() -> None:
    """Import what a mount's daemon will need: forked, it has it."""
    import trio  # noqa: F401

    from fossil_fs.mounting import daemon, logfile  # noqa: F401
    from venti_store.stores import far  # noqa: F401
    from venti_store.stores.lmdb import peek, store  # noqa: F401

    for runtime in ALL.values():
        if not runtime.lacks():
            runtime.prepare()


if __name__ == "__main__":
    use(os.environ)  # a store far away is dialled with this node's key
    raise SystemExit(main(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""))
