"""The audit log: who asked for what, one ndb record a line, only ever added to."""

import os
import time
from typing import Final

from ndbdb.parser import unparse
from ndbdb.record import Record

FILE_SIZE_MAX: Final = 16 << 20  # then it becomes FILE.1, and the one before that goes
_TEXT_SIZE_MAX: Final = 1000


class Audit:
    """One file; several processes may add to it."""

    def __init__(self, path: str) -> None:
        self.path = path
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)

    def __call__(self, user: str, what: str, **more: str) -> None:
        """Add a record."""
        safe = "".join(c if c.isprintable() and c != '"' else "?" for c in what)[:_TEXT_SIZE_MAX]
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        record = Record.of(("time", stamp), ("user", user), ("what", safe), *more.items())
        descriptor = os.open(
            self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            os.write(descriptor, unparse(record).encode())
            full = os.fstat(descriptor).st_size > FILE_SIZE_MAX
        finally:
            os.close(descriptor)
        if full:
            os.replace(self.path, f"{self.path}.1")
