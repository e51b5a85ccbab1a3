"""The console's end in the daemon: requests become calls, facts become lines."""

import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

import trio

from fossil_fs.mounting.console import LINE_MAX
from lib9.errors import Exit, SpawngridError
from lib9.sockets import socket_path
from lib9.telling import error_line

CONNECTIONS_MAX: Final = 64
_CREDENTIALS: Final = struct.Struct("3i")

# a request's arguments in; data lines, and the text after `ok`, out
Command = Callable[[list[str]], Awaitable[tuple[list[str], str]]]


async def serve_console(
    path: str, commands: Mapping[str, Command], *, task_status: trio.TaskStatus[None]
) -> None:
    """Answer at the socket `path` until cancelled; the socket is the owner's alone."""
    with suppress(FileNotFoundError):
        os.unlink(f"{path}.new")
    with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM) as listener:
        draft = f"{path}.new"  # renamed when somebody listens: who sees the socket is answered
        before = os.umask(0o177)
        try:
            with socket_path(draft) as short:
                await listener.bind(short)
        finally:
            os.umask(before)
        listener.listen(16)
        os.rename(draft, path)
        room = trio.CapacityLimiter(CONNECTIONS_MAX)
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                accepted, _ = await listener.accept()
                nursery.start_soon(_serve, accepted, commands, room)


async def _serve(
    accepted: trio.socket.SocketType, commands: Mapping[str, Command], room: trio.CapacityLimiter
) -> None:
    with accepted:
        if not _may_ask(accepted):
            return
        async with room:
            with suppress(OSError):
                await _answer_all(accepted, commands)


def _may_ask(accepted: trio.socket.SocketType) -> bool:
    data = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(data)
    return uid in (0, os.geteuid())


async def _answer_all(accepted: trio.socket.SocketType, commands: Mapping[str, Command]) -> None:
    rest = b""
    while True:
        line, mark, rest = rest.partition(b"\n")
        while not mark:
            more = await accepted.recv(4096)
            if not more or len(line) > LINE_MAX:
                return
            line, mark, rest = (line + more).partition(b"\n")
        answer = await _answer(line.decode(errors="surrogateescape"), commands)
        await _send_all(accepted, answer.encode(errors="surrogateescape"))


async def _send_all(accepted: trio.socket.SocketType, data: bytes) -> None:
    while data:
        data = data[await accepted.send(data) :]


async def _answer(line: str, commands: Mapping[str, Command]) -> str:
    word, *arguments = line.split() or [""]
    command = commands.get(word)
    if command is None:
        return f"error {int(Exit.USAGE)} {word}: no such request\n"
    try:
        lines, text = await command(arguments)
    except SpawngridError as error:
        return f"error {int(error.exit_code)} {error_line(error)}\n"
    except OSError as error:
        return f"error {int(Exit.FAILED)} {word}: {error_line(error)}\n"
    return "".join(f"\t{data}\n" for data in lines) + f"ok {text}".rstrip() + "\n"
