"""The way into an environment: from the machine's root to a command with a guest's rights, in two steps.

What has been a way out of containers elsewhere: the command keeps no descriptor but three made for it, and
where it begins is looked up below the root; it cannot be traced, nor its files looked at, before it is the
guest's own program; nothing is imported from the guest's files; the process that it joins is known by the
time it started, not by its number alone. tests/spawngrid/environment/test_joining.py attacks each.
"""

import fcntl
import os
import resource
import signal
import socket
import stat
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple, NoReturn

from spawngrid.environment import kernel, rights
from spawngrid.environment.processes import start_time
from spawngrid.environment.runtimes.carrying import SIGNALS

_SPACES: Final = (
    kernel.NEW_MOUNTS
    | kernel.NEW_CGROUPS
    | kernel.NEW_NAMES
    | kernel.NEW_IPC
    | kernel.NEW_USERS
    | kernel.NEW_PROCESSES
    | kernel.NEW_NETWORK
)
CANNOT_JOIN, _NOT_FOUND = 126, 127  # as a shell says it
_TERMINALS = (5, 2)  # the device that makes them
_UNLOCK, _OTHER_END = 0x40045431, 0x5441  # TIOCSPTLCK, TIOCGPTPEER


class Order(NamedTuple):
    """What is to be done. `folder`: the bundle; `pid`, `start`: process 1; `groups`: where its cgroup is.

    The others: see `interface.Inside`. `variables`: how many of the words are such.
    """

    folder: str
    pid: int
    start: int
    groups: list[str]
    terminal: bool
    directory: str
    pid_file: str
    variables: int


class Envoy:
    """The way in. `streams`: the command's; this process's own unless given."""

    def __init__(self, order: Order, process: dict[str, Any], code: bytes, argv: list[str]) -> None:
        self._order, self._process, self._code, self._argv = order, process, code, argv
        self._rights = rights.mask(process["capabilities"]["bounding"])
        self.variables: dict[str, str] = {}
        self.streams = (0, 1, 2)

    def sent(self) -> tuple[int, int, int, int]:
        """Return the command, which waits for a byte; its terminal, or -1; where the byte goes; and where
        one comes from if it does not become a program; OSError.
        """
        ours, theirs = socket.socketpair()
        (waits, go), (begun, failed) = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            try:
                ours.close()
                os.close(go)
                os.close(begun)
                self.enter()
                self._send_command(theirs, waits, failed)
            except OSError as error:
                theirs.send(f"!{error.strerror or error}".encode())
            finally:
                os._exit(0)
        theirs.close()
        os.close(waits)
        os.close(failed)
        with ours:
            told, descriptors, _, _ = socket.recv_fds(ours, 4096, 1)
        os.waitpid(child, 0)  # from now on the command is this process's child
        if not told.isdigit():
            raise OSError(told[1:].decode() or "who was sent in has not come back")
        return int(told), descriptors[0] if descriptors else -1, go, begun

    def enter(self) -> None:
        """Be inside, with an environment's rights, but not seen."""
        initial = os.pidfd_open(self._order.pid)
        if start_time(self._order.pid) != self._order.start:
            raise ProcessLookupError(3, "its process 1 has ended")
        for limit in self._process["rlimits"]:
            number = getattr(resource, limit["type"])
            resource.setrlimit(number, (limit["soft"], limit["hard"]))
        rights.leave_keys(os.uname().machine)
        for places in (sys.path, sys.meta_path, sys.path_hooks):
            places.clear()  # from now on these would be the guest's
        sys.path_importer_cache.clear()
        rights.hide()
        kernel.enter(initial, _SPACES)
        os.close(initial)
        rights.be_root_inside()
        rights.bound(self._rights)
        rights.gain_nothing()
        rights.hold(self._rights, inherited=self._rights)
        rights.hide()  # a change of ids may have undone it

    def _send_command(self, carrier: socket.socket, waits: int, failed: int) -> None:
        master = -1
        if self._order.terminal:
            master, terminal = _terminal()
            self.streams = (terminal, terminal, terminal)
        command = os.fork()
        if command == 0:
            carrier.close()
            _exit_with(self._become, waits, failed)
        socket.send_fds(carrier, [str(command).encode()], [master] if master >= 0 else [])

    def _become(self, waits: int, failed: int) -> None:
        """Become the program. Whoever is inside sees this process."""
        os.setsid()
        if not os.read(waits, 1):
            return  # the carrier is gone
        if self._order.terminal:
            fcntl.ioctl(self.streams[0], termios.TIOCSCTTY, 0)
        for number, stream in enumerate([os.dup(stream) for stream in self.streams]):
            os.dup2(stream, number)
        os.closerange(3, failed)
        os.closerange(failed + 1, os.sysconf("SC_OPEN_MAX"))
        for number in SIGNALS | {signal.SIGPIPE, signal.SIGCHLD}:
            with suppress(OSError):
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.umask(0o022)
        _begin_at(self._order.directory)
        rights.filter_calls(self._code)
        os.execve(self._argv[0], self._argv, self.variables)


def _terminal() -> tuple[int, int]:
    """Return both ends of a new terminal of the environment's; OSError if what is there makes none."""
    flags = os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK
    master = _open_inside("/dev/pts/ptmx", flags, kernel.NO_LINKS)
    made_by = os.fstat(master)
    device = os.major(made_by.st_rdev), os.minor(made_by.st_rdev)
    if not stat.S_ISCHR(made_by.st_mode) or device != _TERMINALS:
        raise OSError(0, "there are no terminals inside")
    fcntl.ioctl(master, _UNLOCK, bytes(4))
    return master, fcntl.ioctl(master, _OTHER_END, os.O_RDWR | os.O_NOCTTY)


def _begin_at(directory: str) -> None:
    place = _open_inside(directory, os.O_PATH | os.O_DIRECTORY)
    os.fchdir(place)
    os.close(place)


def _open_inside(path: str, flags: int, resolve: int = 0) -> int:
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        return kernel.open_below(
            root, path, flags, kernel.IN_ROOT | kernel.NO_MAGIC_LINKS | resolve
        )
    finally:
        os.close(root)


def _exit_with(become: Callable[[int, int], None], waits: int, failed: int) -> NoReturn:
    status = CANNOT_JOIN
    try:
        become(waits, failed)
    except OSError as error:
        status = _NOT_FOUND if isinstance(error, FileNotFoundError) else CANNOT_JOIN
        with suppress(OSError):
            os.write(failed, b"!")
        complain(error.strerror or str(error))
    finally:
        os._exit(status)


def complain(why: str) -> None:
    with suppress(OSError):
        os.write(2, f"{why}\n".encode(errors="replace"))
