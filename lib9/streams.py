"""Dial strings, and what they lead to: `unix!PATH`, `tcp!HOST!PORT`, `noise!HOST!PORT`.

`tcp!` is plain, for loopback and tunnels. `noise!` is the same below `lib9.secure`: the caller puts
the channel on, since who may come in is its business.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

import trio

from lib9.errors import Exit, SpawngridError, UsageError
from lib9.sockets import socket_path

SERVICES: Final = {"venti": 17034, "hub": 17777, "grid": 27034}  # names that may stand for a port
BACKLOG: Final = 128
DIAL_SECONDS_MAX: Final = 10.0

Connect = Callable[[], Awaitable[trio.abc.Stream]]  # gives a new stream to the same place each time
Network = Literal["unix", "tcp", "noise"]
_NETWORKS: Final[tuple[Network, ...]] = ("unix", "tcp", "noise")


class CannotDial(SpawngridError):
    """Nobody answers at this address."""

    exit_code = Exit.UNREACHABLE


class CannotListen(SpawngridError):
    """This address cannot be listened on."""


@dataclass(frozen=True, slots=True)
class Dial:
    """An address. `path` is for unix, `host` and `port` for the others; host `*` is any of ours."""

    network: Network
    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.network == "unix":
            return f"unix!{self.path}"
        return f"{self.network}!{self.host}!{self.port}"


def is_dial(text: str) -> bool:
    """Tell whether `text` is meant as a dial string: it starts with a network and `!`."""
    return text.partition("!")[0] in _NETWORKS and "!" in text


def parse_dial(text: str, *, port: int | str = "venti") -> Dial:
    """Return the address that `text` spells; without a port, `port`. UsageError if it is none."""
    network, _, rest = text.partition("!")
    if network == "unix" and rest:
        return Dial("unix", path=rest)
    if network in ("tcp", "noise") and rest:
        host, _, port_text = rest.partition("!")
        number = _port(port_text or str(port))
        if host and number is not None:
            return Dial("tcp" if network == "tcp" else "noise", host=host, port=number)
    raise UsageError(f"{text}: not an address (unix!PATH, tcp!HOST!PORT or noise!HOST!PORT)")


def _port(text: str) -> int | None:
    if text in SERVICES:
        return SERVICES[text]
    if text.isascii() and text.isdigit() and int(text) <= 0xFFFF:
        return int(text)
    return None


async def dial(address: Dial, *, seconds_max: float = DIAL_SECONDS_MAX) -> trio.SocketStream:
    """Connect; CannotDial says why not."""
    try:
        with trio.fail_after(seconds_max):
            if address.network == "unix":
                with socket_path(address.path) as short:
                    return await trio.open_unix_socket(short)
            return await trio.open_tcp_stream(address.host, address.port)
    except trio.TooSlowError:
        raise CannotDial(f"{address}: no answer in {seconds_max:g} s") from None
    except OSError as error:
        raise CannotDial(f"{address}: {_why(error)}") from None


async def listen(address: Dial, *, mode: int = 0o600) -> list[trio.SocketListener]:
    """Listen; `mode` is of a unix socket. CannotListen if the address is taken or not ours.

    A socket file that nobody listens on any more is replaced.
    """
    try:
        if address.network == "unix":
            return [_listen_unix(address.path, mode)]
        host = None if address.host == "*" else address.host
        return await trio.open_tcp_listeners(address.port, host=host, backlog=BACKLOG)
    except OSError as error:
        raise CannotListen(f"{address}: {_why(error)}") from None


def listeners_of(descriptors: list[int]) -> list[trio.SocketListener]:
    """Return listeners on sockets that a service manager opened for us."""
    return [
        trio.SocketListener(trio.socket.from_stdlib_socket(socket.socket(fileno=descriptor)))
        for descriptor in descriptors
    ]


def _why(error: OSError) -> str:
    if isinstance(error.__cause__, OSError | ExceptionGroup):
        # trio tries every address of a name; the reason is below
        inner = error.__cause__
        while isinstance(inner, ExceptionGroup):
            first = inner.exceptions[0]
            inner = first if isinstance(first, OSError | ExceptionGroup) else OSError(str(first))
        return inner.strerror or str(inner)
    return error.strerror or str(error)


def _listen_unix(path: str, mode: int) -> trio.SocketListener:
    if _answers(path):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    # bound under another name and renamed: nobody meets a socket of the wrong mode, and a stale
    # file gives way in one step
    try:
        fresh = f"{path}.{os.getpid()}"
        with socket_path(fresh) as short:
            sock.bind(short)
        os.chmod(fresh, mode)
        sock.listen(BACKLOG)
        os.rename(fresh, path)
    except OSError:
        sock.close()
        raise
    return trio.SocketListener(trio.socket.from_stdlib_socket(sock))


def _answers(path: str) -> bool:
    """Tell whether somebody listens at `path`; FileExistsError if it is no socket at all."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "exists and is no socket")
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.settimeout(1)
            with socket_path(path) as short:
                probe.connect(short)
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True
