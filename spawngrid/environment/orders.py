"""What is said between the keeper and who asks it: a line of JSON each way, and a descriptor with it.

{"id": "…"}                         start the environment of this record; its lock comes along
{"ok": true}
{"error": "CannotIsolate", "text": "…", "status": 1}
"""

import json
import os
import socket
import struct
from contextlib import suppress
from typing import Final

from lib9.errors import Exit, SpawngridError
from lib9.sockets import socket_path
from spawngrid.environment.interface import CannotIsolate, StartFailed, UnfitRoot
from spawngrid.environment.processes import end, start_time

SIZE_MAX: Final = 16 << 10
_CREDENTIALS: Final = struct.Struct("3i")
START_SECONDS_MAX: Final = 60.0  # a far store, a loaded machine
_ERRORS: Final = {each.__name__: each for each in (CannotIsolate, StartFailed, UnfitRoot)}


class KeeperGone(SpawngridError):
    """The keeper is not there, or went away in the middle of an order."""


def send(connection: socket.socket, message: dict[str, object], *descriptors: int) -> None:
    data = json.dumps(message).encode() + b"\n"
    socket.send_fds(connection, [data], descriptors)


def receive(connection: socket.socket) -> tuple[dict[str, object], list[int]]:
    """Return a message and the descriptors that came with it; KeeperGone at the end of the connection."""
    data, passed = b"", []
    while not data.endswith(b"\n"):
        more, descriptors, _, _ = socket.recv_fds(connection, SIZE_MAX, 1)
        passed += descriptors
        data += more
        if not more or len(data) > SIZE_MAX:
            raise KeeperGone("the keeper of environments went away")
    message = json.loads(data)
    return (message if isinstance(message, dict) else {}), passed


def error_message(error: BaseException, text: str, status: Exit) -> dict[str, object]:
    return {"error": type(error).__name__, "text": text, "status": int(status)}


class OrderFailed(SpawngridError):
    """What the keeper could not do, with the exit status that the fact has."""

    def __init__(self, text: str, status: Exit) -> None:
        super().__init__(text)
        self.exit_code = status  # type: ignore[misc]  # each answer has its own


def ask(path: str, order: dict[str, object], *descriptors: int) -> None:
    """Give an order and wait until it is done; KeeperGone, or the error that it ended with."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(START_SECONDS_MAX)
        try:
            with socket_path(path) as short:
                connection.connect(short)
            send(connection, order, *descriptors)
            answer, _ = receive(connection)
        except TimeoutError:
            raise StartFailed(f"not started within {START_SECONDS_MAX:.0f} s") from None
        except OSError as error:
            raise KeeperGone(f"{path}: {error.strerror}") from error
    if "error" in answer:
        known = _ERRORS.get(str(answer["error"]))
        text, status = str(answer.get("text", "")), int(str(answer.get("status", 1)))
        raise known(text) if known is not None else OrderFailed(text, Exit(status))


def is_served(path: str) -> bool:
    """Tell whether somebody listens at a socket."""
    return server_pid(path) is not None


def server_pid(path: str) -> int | None:
    """Return the process that listens at a socket; None if nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        try:
            with socket_path(path) as short:
                connection.connect(short)
        except OSError:
            return None
        data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid: int = _CREDENTIALS.unpack(data)[0]
        return pid


def end_server(path: str) -> bool:
    """End the process that listens at a socket, and remove the socket; tell whether it was there."""
    pid = server_pid(path)
    started = None if pid is None else start_time(pid)
    there = pid is not None and started is not None and end(pid, started)
    with suppress(FileNotFoundError):
        os.unlink(path)
    return there
