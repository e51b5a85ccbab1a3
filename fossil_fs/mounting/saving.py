"""A save of a mount, whoever asks for it: first what the kernel holds back, then what the scratch has."""

import os
import subprocess
import sys
from collections.abc import Callable

import trio

from fossil_fs.mounting import writing_out
from fossil_fs.mounting.errors import HeldBack
from fossil_fs.mounting.mounted import Mounted
from lib9.telling import printable
from venti_store.score import Score


async def save(mounted: Mounted, taken: Callable[[], None] = lambda: None) -> Score:
    """Save when no other save runs: every write that returned before is in it.

    `taken` is called once when the state is held. Raises as `Saver.save`, and HeldBack.
    """
    async with mounted.saving:
        await take_over(mounted)
        return await mounted.filesystem.saver.save(taken)


async def take_over(mounted: Mounted) -> None:
    """Return when every write that has returned is in the scratch; HeldBack.

    Without write-back it is so already. While the mount is halted nothing more is let in.
    """
    if not mounted.mounting.writeback or mounted.is_halted or mounted.served is None:
        return
    files = mounted.filesystem.open_for_writing()
    if not files:
        return
    said = await trio.run_process(
        [
            sys.executable,
            "-IS",
            writing_out.__file__,
            os.fsdecode(mounted.served.point),
            str(mounted.served.minor),
        ],
        stdin=b"".join(b"%d %s\0" % file for file in files),
        capture_stdout=True,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if said.returncode != 0:
        raise HeldBack(f"{os.fsdecode(mounted.served.point)}: the mount is not there any more")
    still_open = dict(mounted.filesystem.open_for_writing())
    for line in said.stdout.decode().splitlines():
        ino, number = map(int, line.split())
        path = still_open.get(ino)
        if path is not None:
            name = printable(os.fsdecode(path))
            raise HeldBack(
                f"{name}: open, and what was written to it cannot be had: {os.strerror(number)}"
                " (close it, or fsync it, and save again)"
            )
