"""How an error is told: one line, and an exit status."""

import errno
import os

from lib9.errors import Exit, SpawngridError


def exit_status(error: BaseException) -> Exit:
    """Return the exit status that an error has."""
    if isinstance(error, SpawngridError):
        return error.exit_code
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return Exit.NO_SPACE if full else Exit.FAILED


def error_line(error: BaseException) -> str:
    """Return `what: why` on one line, without control characters."""
    if isinstance(error, OSError) and error.strerror:
        name = error.filename
        if isinstance(name, bytes):
            name = os.fsdecode(name)
        text = f"{name}: {error.strerror}" if name is not None else error.strerror
    else:
        text = str(error) or type(error).__name__
    return printable(text)


def printable(text: str) -> str:
    """Return `text` with control characters, newlines and what is no text as escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def one_line(text: str, size_max: int, *, without: str = "") -> str:
    """Return up to `size_max` characters of `text`; what cannot be printed, or is in `without`, is `?`.

    For what is kept or passed on as a line of its own, whoever wrote it.
    """
    return "".join(c if c.isprintable() and c not in without else "?" for c in text[:size_max])
