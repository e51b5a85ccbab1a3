"""The audit log: who asked for what, one ndb record a line, only ever added to.

What was carried out, or will be, is always written. What was refused costs who asks nothing, so of
that each user has an allowance; how much was left out is a line, too.
"""

import fcntl
import os
import time
from contextlib import suppress
from typing import Final

from lib9.telling import one_line
from ndbdb.parser import unparse
from ndbdb.record import Record
from spawngrid.settings.allowance import Allowance

FILE_SIZE_MAX: Final = 16 << 20  # then it becomes FILE.1, FILE.1 becomes FILE.2, and so on
OLD_FILES_MAX: Final = 9  # the one before FILE.1 to FILE.9 goes: 160 MiB in all
REFUSED_MAX: Final = 20  # lines for one user in one turn
STRANGERS: Final = "?"  # in place of a user's name, all together
_TEXT_SIZE_MAX: Final = 1000


class Audit:
    """One file; several processes may add to it."""

    def __init__(self, path: str) -> None:
        self.path = path
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)

    def __call__(self, user: str, what: str) -> None:
        """Add a record."""
        safe = one_line(what, _TEXT_SIZE_MAX, without='"')
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        record = Record.of(("time", stamp), ("user", user), ("what", safe))
        descriptor = os.open(
            self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            os.write(descriptor, unparse(record).encode())
            if os.fstat(descriptor).st_size > FILE_SIZE_MAX:
                self._begin_anew(descriptor)
        finally:
            os.close(descriptor)

    def _begin_anew(self, full: int) -> None:
        """Put the full file aside, once, whoever else is about to."""
        fcntl.flock(full, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if not os.path.samestat(os.stat(self.path), os.fstat(full)):
                return
            for number in range(OLD_FILES_MAX, 1, -1):
                with suppress(FileNotFoundError):
                    os.replace(f"{self.path}.{number - 1}", f"{self.path}.{number}")
            os.replace(self.path, f"{self.path}.1")


class Refusals:
    """What was refused, as long as that is not too much."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._allowance = Allowance(REFUSED_MAX)

    def __call__(self, user: str, what: str) -> None:
        """Add a record, or count it."""
        if self._allowance.take(user):
            self._audit(user, what)

    def turn(self) -> None:
        """Say what was left out since the turn before; call it every TURN_SECONDS, and at the end."""
        for user, count in self._allowance.turn().items():
            self._audit(user, f"{count} more refused, left out here")
