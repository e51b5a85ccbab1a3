"""Unmounting with the daemon's consent: unsaved changes are looked for first, the end is waited for."""

import os
import time
from typing import Final

from fossil_fs.mounting.console import Console
from fossil_fs.mounting.registry import Running, is_alive
from lib9.errors import Exit, SpawngridError
from lib9.fuse import mounts

END_SECONDS_MAX: Final = 10.0  # from the console's end to the process's
_POLL_SECONDS: Final = 0.005


class Unsaved(SpawngridError):
    """The mount has changes that no score has."""

    exit_code = Exit.UNSAVED


def unmount(console: Console, running: Running, *, discard: bool) -> None:
    """Unmount and return when the daemon has let go of everything.

    Unsaved if there are unsaved changes and not `discard`; MountBusy if something uses the mount:
    then all is as before.
    """
    if not discard and "unsaved=1" in console.ask("status")[0]:
        raise Unsaved(
            f"{running.mnt}: unsaved changes: --save [NAME] or --discard"
            " (umount(8) keeps them for fossil-scratch)"
        )
    console.ask("discard" if discard else "keep")
    try:
        mounts.unmount(os.fsencode(running.mnt))
    except SpawngridError:
        console.ask("keep")
        raise
    console.wait_for_end()
    deadline = time.monotonic() + END_SECONDS_MAX
    while is_alive(running.pid) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)  # it tidies up: its record, its scratch, its store
