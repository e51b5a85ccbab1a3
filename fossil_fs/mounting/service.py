"""The console's end in the daemon: lines in, lines out."""

import os
import socket
import struct
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import trio

from fossil_fs.mounting.errors import Found
from fossil_fs.mounting.mounted import Mounted
from fossil_fs.mounting.word import LINE_MAX, Word, say
from lib9.errors import SpawngridError
from lib9.sockets import socket_path
from lib9.telling import error_line, exit_status, printable

CONNECTIONS_MAX: Final = 64
_CREDENTIALS: Final = struct.Struct("3i")


async def serve_console(
    path: str,
    words: Sequence[Word],
    mounted: Mounted,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
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
                nursery.start_soon(_serve, accepted, words, mounted, room)


async def _serve(
    accepted: trio.socket.SocketType,
    words: Sequence[Word],
    mounted: Mounted,
    room: trio.CapacityLimiter,
) -> None:
    with accepted:
        pid, uid = _who(accepted)
        if uid not in (0, os.geteuid()):
            return
        async with room:
            mounted.askers[pid, uid] += 1
            try:
                await _answer_all(accepted, words, mounted)
            except OSError:
                return  # whoever asked went away
            finally:
                mounted.askers -= Counter([(pid, uid)])


def _who(accepted: trio.socket.SocketType) -> tuple[int, int]:
    data = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(data)
    return pid, uid


async def _answer_all(
    accepted: trio.socket.SocketType, words: Sequence[Word], mounted: Mounted
) -> None:
    rest = b""
    while True:
        line, mark, rest = rest.partition(b"\n")
        while not mark:
            more = await accepted.recv(4096)
            if not more or len(line) > LINE_MAX:
                return
            line, mark, rest = (line + more).partition(b"\n")
        answer = await _answer(line.decode(errors="surrogateescape"), words, mounted)
        await _send_all(accepted, answer.encode(errors="surrogateescape"))


async def _send_all(accepted: trio.socket.SocketType, data: bytes) -> None:
    while data:
        data = data[await accepted.send(data) :]


async def _answer(line: str, words: Sequence[Word], mounted: Mounted) -> str:
    try:
        lines, text = await say(words, mounted, line)
    except (SpawngridError, OSError) as error:
        end = f"error {int(exit_status(error))} {error_line(error)}\n"
        return _data(error.lines if isinstance(error, Found) else ()) + end
    return _data(lines) + f"ok {text}".rstrip() + "\n"


def _data(lines: Sequence[str]) -> str:
    return "".join(f"\t{printable(line)}\n" for line in lines)
