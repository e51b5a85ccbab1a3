r"""The console of a mount: a socket that takes one-line requests and gives lines back.

    request    WORD [ARGUMENT...]\\n
    answer     any number of data lines, each after a tab, then one of
               ok [TEXT]\\n
               error STATUS TEXT\\n       STATUS is the exit status that the fact has

Only the mount's owner and root are answered (SO_PEERCRED). Clients use blocking sockets: short
commands have no event loop to load.
"""

import shlex
import socket
import time
from typing import Final

from lib9.errors import Exit, SpawngridError
from lib9.sockets import socket_path

LINE_MAX: Final = 64 << 10  # bytes of one line, either way
CONNECT_SECONDS_MAX: Final = 10.0  # a loaded machine takes seconds to import a daemon
ANSWER_SECONDS_MAX: Final = 10.0  # for words that wait for nothing
_POLL_SECONDS: Final = 0.02

# before these, what the kernel holds back is written out
SYNCED_WORDS: Final = frozenset(("save", "snap", "sync", "halt"))
# these are answered at once, whatever the mount does
QUICK_WORDS: Final = frozenset(("status", "stats", "df", "last", "help", "who", "unhalt"))


class ConsoleError(SpawngridError):
    """What the mount's daemon answered, with its exit status and the lines before it."""

    def __init__(self, text: str, status: Exit, lines: list[str]) -> None:
        super().__init__(text)
        self.lines = lines
        self.exit_code = status  # type: ignore[misc]  # each answer has its own


class Unanswered(SpawngridError):
    """The daemon of a mount is gone, or does not answer."""

    exit_code = Exit.MOUNT


class Console:
    """A connection to a mount's console."""

    def __init__(self, path: str) -> None:
        """Connect, waiting for a daemon that is starting; Unanswered if there is nobody."""
        deadline = time.monotonic() + CONNECT_SECONDS_MAX
        while True:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.settimeout(CONNECT_SECONDS_MAX)
            try:
                with socket_path(path) as short:
                    self._socket.connect(short)
                break
            except OSError as error:
                self._socket.close()
                starting = isinstance(error, FileNotFoundError | ConnectionRefusedError)
                if not starting or time.monotonic() > deadline:
                    raise Unanswered(f"{path}: {error.strerror or 'no answer'}") from error
            time.sleep(_POLL_SECONDS)
        self._file = self._socket.makefile("rb")

    def ask(self, *words: str) -> tuple[list[str], str]:
        """Return the data lines and the text after `ok`; ConsoleError, Unanswered.

        A save takes what it takes; QUICK_WORDS are not waited for longer than ANSWER_SECONDS_MAX.
        """
        quick = words[0] in QUICK_WORDS
        self._socket.settimeout(ANSWER_SECONDS_MAX if quick else None)
        line = shlex.join(words).encode(errors="surrogateescape") + b"\n"
        lines: list[str] = []
        try:
            self._socket.sendall(line)
            while answer := self._file.readline(LINE_MAX):
                text = answer.decode(errors="surrogateescape").rstrip("\n")
                if text.startswith("\t"):
                    lines.append(text[1:])
                    continue
                word, _, rest = text.partition(" ")
                if word == "ok":
                    return lines, rest
                status, _, message = rest.partition(" ")
                raise ConsoleError(message, Exit(int(status)), lines)
        except TimeoutError as error:
            raise Unanswered(
                "the mount's daemon does not answer (fossil-umount --force ends the mount)"
            ) from error
        except OSError as error:
            raise Unanswered(f"console: {error.strerror}") from error
        raise Unanswered("the mount's daemon went away")

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

    def close(self) -> None:
        self._file.close()
        self._socket.close()
