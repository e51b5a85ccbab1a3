r"""Asking a daemon something over its unix socket: a line of words, and lines back. Blocking.

request    WORD [ARGUMENT...]\\n
answer     any number of data lines, each after a tab, then one of
           ok [TEXT]\\n
           error STATUS TEXT\\n       STATUS is the exit status that the fact has
"""

import shlex
import socket
from collections.abc import Iterable
from typing import Final

from lib9.errors import Exit, SpawngridError
from lib9.sockets import socket_path

LINE_MAX: Final = 16 << 20  # bytes of one line of an answer
CONNECT_SECONDS_MAX: Final = 10.0


class NobodyThere(SpawngridError):
    """No daemon answers at this socket."""

    exit_code = Exit.UNREACHABLE


class Answered(SpawngridError):
    """What a daemon answered instead of ok, with its exit status."""

    def __init__(self, text: str, status: Exit) -> None:
        super().__init__(text)
        self.exit_code = status  # type: ignore[misc]  # each answer has its own


def ask(path: str, *words: str, seconds_max: float | None = None) -> tuple[list[str], str]:
    """Return the data lines and the text behind `ok`. Raises Answered, or NobodyThere."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(CONNECT_SECONDS_MAX)
        try:
            with socket_path(path) as short:
                sock.connect(short)
            sock.settimeout(seconds_max)
            sock.sendall(shlex.join(words).encode() + b"\n")
            with sock.makefile("rb") as file:
                return _answer(iter(lambda: file.readline(LINE_MAX), b""), path)
        except (FileNotFoundError, ConnectionRefusedError):
            raise NobodyThere(f"{path}: nobody listens there") from None
        except OSError as error:
            raise NobodyThere(f"{path}: {error.strerror or 'no answer in time'}") from None


def _answer(lines: Iterable[bytes], path: str) -> tuple[list[str], str]:
    data: list[str] = []
    for line in lines:
        text = line.decode(errors="surrogateescape").rstrip("\n")
        if text.startswith("\t"):
            data.append(text[1:])
            continue
        word, _, rest = text.partition(" ")
        if word == "ok":
            return data, rest
        status, _, message = rest.partition(" ")
        raise Answered(message, Exit(int(status)))
    raise NobodyThere(f"{path}: the daemon went away")
