"""No test waits for ever: what still waits on a FUSE mount after a test's time is made to fail.

A process that waits for a daemon's answer may sleep where no signal reaches it: a reader on stock pyfuse3,
or whoever asks a daemon that hangs. It goes on only when the connection is aborted.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path

from lib9.fuse import mounts
from lib9.fuse.errors import NotMounted
from tests.kit.mounts import mount_tables

GRACE_SECONDS = 5.0  # after its time, for a test to end by itself

_folders: set[bytes] = set()  # where tests of this process mount


def watch(folder: Path) -> None:
    """Let mounts below `folder` be ended when a test goes on after its time."""
    _folders.add(os.fsencode(folder) + b"/")


def abort_all() -> None:
    """Abort every FUSE connection whose mount lies below a watched folder, in whatever namespace."""
    for minor in {m.minor for table in mount_tables() for m in table if _is_ours(m)}:
        with suppress(OSError, NotMounted):  # it has ended meanwhile
            mounts.abort(minor)


def _is_ours(mount: mounts.Mount) -> bool:
    return mount.is_fuse and mount.point.startswith(tuple(_folders))


class Guard:
    """Aborts again and again, from `seconds` + GRACE_SECONDS on, until it is cancelled."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds + GRACE_SECONDS
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._seconds):
            abort_all()
            self._seconds = GRACE_SECONDS  # a test that was stuck may mount again
