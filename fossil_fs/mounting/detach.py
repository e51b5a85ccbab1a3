"""A daemon that its caller waits for: the command returns when the mount can be used, or says why not.

The child tells its fate through a pipe: one line `STATUS TEXT`. Fork comes before the event loop and
before any thread.
"""

import logging
import logging.handlers
import os
from collections.abc import Callable
from typing import Final

from lib9.cli import error_line, exit_status
from lib9.errors import Exit, SpawngridError, single_error

LOG_SIZE_MAX: Final = 1 << 20  # bytes of a daemon's log; one older one is kept

Ready = Callable[[str], None]


class NotStarted(SpawngridError):
    """What the daemon said before it ended."""

    def __init__(self, text: str, status: Exit) -> None:
        super().__init__(text)
        self.exit_code = status  # type: ignore[misc]  # that of the daemon


def detach(run: Callable[[Ready], None], log_file: str, program: str) -> str:
    """Run `run(ready)` in a process of its own; return what it says to `ready`.

    NotStarted when it ends before. Afterwards it logs to `log_file`.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _be_daemon(run, writer, log_file, program)
    os.close(writer)
    with open(reader, "rb") as stream:
        said = stream.read().decode(errors="surrogateescape")
    status, _, text = said.partition(" ")
    if not status:
        os.waitpid(child, 0)
        raise NotStarted("the daemon died (see its log)", Exit.FAILED)
    if int(status) != Exit.OK:
        os.waitpid(child, 0)
        raise NotStarted(text, Exit(int(status)))
    return text


def _be_daemon(run: Callable[[Ready], None], writer: int, log_file: str, program: str) -> None:
    """Run and exit; never returns to the caller's code."""
    status = Exit.FAILED

    def tell(code: Exit, text: str) -> None:
        nonlocal writer
        if writer >= 0:
            os.write(writer, f"{int(code)} {text}".encode(errors="surrogateescape"))
            os.close(writer)
            writer = -1

    def ready(text: str) -> None:
        _let_go_of_terminal()
        tell(Exit.OK, text)

    try:
        os.setsid()
        os.chdir("/")
        _log_to(log_file, program)
        run(ready)
        status = Exit.OK
    except BaseException as raised:
        error = single_error(raised)
        if isinstance(error, SpawngridError | OSError):
            status = exit_status(error)
            logging.getLogger(program).warning("%s", error_line(error))
        else:
            logging.getLogger(program).exception("died")
        tell(status, error_line(error))
    finally:
        os._exit(int(status))


def _let_go_of_terminal() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def _log_to(log_file: str, program: str) -> None:
    handler = logging.handlers.RotatingFileHandler(
        log_file, maxBytes=LOG_SIZE_MAX, backupCount=1, delay=True
    )
    handler.setFormatter(logging.Formatter(f"%(asctime)s {program}: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
