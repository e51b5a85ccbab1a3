"""What dial strings lead to: trio streams to connect to and listeners to be reached at.

`noise!` is plain here: the caller puts the channel on (`lib9.secure`), since who may come in is its
business.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from lib9.dial import DIAL_SECONDS_MAX, SERVICES, CannotDial, Dial, is_dial, parse_dial
from lib9.errors import SpawngridError
from lib9.sockets import socket_path

__all__ = [
    "SERVICES",
    "CannotDial",
    "CannotListen",
    "Dial",
    "dial",
    "is_dial",
    "listen",
    "listeners_of",
    "parse_dial",
]

BACKLOG: Final = 128

Connect = Callable[[], Awaitable[trio.abc.Stream]]  # gives a new stream to the same place each time


class CannotListen(SpawngridError):
    """This address cannot be listened on."""


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
        if inner.errno is not None and not isinstance(inner, socket.gaierror):
            return os.strerror(inner.errno)  # trio's own text names the address once more
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
