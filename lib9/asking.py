r"""Asking a daemon something over its unix socket: a line of words, and lines back. Blocking.

request    WORD [ARGUMENT...]\\n
answer     any number of data lines, each after a tab, then one of
           ok [TEXT]\\n
           error STATUS TEXT\\n       STATUS is the exit status that the fact has
"""

import shlex
import socket
import time
from collections.abc import Sequence
from typing import Final, Self

from lib9.errors import Exit, SpawngridError
from lib9.sockets import socket_path

LINE_MAX: Final = 16 << 20  # bytes of one line of an answer
CONNECT_SECONDS_MAX: Final = 10.0
_POLL_SECONDS: Final = 0.02


class NobodyThere(SpawngridError):
    """No daemon answers at this socket."""

    exit_code = Exit.UNREACHABLE


class NoAnswerInTime(NobodyThere):
    """A daemon is there and says nothing."""


class Answered(SpawngridError):
    """What a daemon answered instead of ok: the lines before it, its exit status."""

    def __init__(self, text: str, status: Exit, lines: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.lines = lines
        self.exit_code = status  # type: ignore[misc]  # each answer has its own


class Conversation:
    """A connection to a daemon, for one question after another."""

    def __init__(self, path: str, *, start_seconds_max: float = 0.0) -> None:
        """Connect; a daemon that is starting is waited for so long. NobodyThere."""
        self._path = path
        deadline = time.monotonic() + start_seconds_max
        while True:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.settimeout(CONNECT_SECONDS_MAX)
            try:
                with socket_path(path) as short:
                    self._socket.connect(short)
                break
            except OSError as error:
                self._socket.close()
                absent = isinstance(error, FileNotFoundError | ConnectionRefusedError)
                if not absent or time.monotonic() >= deadline:
                    why = "nobody listens there" if absent else error.strerror
                    raise NobodyThere(f"{path}: {why or 'no answer in time'}") from None
            time.sleep(_POLL_SECONDS)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def ask(self, *words: str, seconds_max: float | None = None) -> tuple[list[str], str]:
        """Return the data lines and the text behind `ok`; Answered, NobodyThere, NoAnswerInTime.

        After any of these but Answered the conversation is over.
        """
        self._socket.settimeout(seconds_max)
        lines: list[str] = []
        try:
            self._socket.sendall(shlex.join(words).encode(errors="surrogateescape") + b"\n")
            while answer := self._file.readline(LINE_MAX):
                text = answer.decode(errors="surrogateescape").rstrip("\n")
                if text.startswith("\t"):
                    lines.append(text[1:])
                    continue
                word, _, rest = text.partition(" ")
                if word == "ok":
                    return lines, rest
                status, _, message = rest.partition(" ")
                raise Answered(message, Exit(int(status)), lines)
        except TimeoutError:
            raise NoAnswerInTime(f"{self._path}: no answer in time") from None
        except OSError as error:
            raise NobodyThere(f"{self._path}: {error.strerror}") from None
        raise NobodyThere(f"{self._path}: the daemon went away")

    def wait_for_end(self, seconds: float) -> bool:
        """Tell whether the daemon has closed everything; wait up to `seconds` for it."""
        self._socket.settimeout(seconds)
        try:
            while self._socket.recv(4096):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass  # it is gone
        return True


def ask(path: str, *words: str, seconds_max: float | None = None) -> tuple[list[str], str]:
    """Ask one question: return the data lines and the text behind `ok`. Answered, NobodyThere."""
    with Conversation(path) as daemon:
        return daemon.ask(*words, seconds_max=seconds_max)
