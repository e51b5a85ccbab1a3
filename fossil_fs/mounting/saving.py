"""A save of a mount, whoever asks for it: first what the kernel holds back, then what the scratch has."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import trio

from fossil_fs.mounting import writing_out
from fossil_fs.mounting.errors import HeldBack
from fossil_fs.mounting.mounted import Mounted
from fossil_fs.overlay.openings import Opening
from lib9.fuse.session import Served
from lib9.telling import printable
from venti_store.score import Score

ATTEMPTS_MAX: Final = 5  # to reach a file that is renamed meanwhile


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
    left = dict.fromkeys(mounted.filesystem.openings.now(), 0)
    for _ in range(ATTEMPTS_MAX):
        left = await _left(mounted, mounted.served, left)
        if not left:
            return
    opening, number = next(iter(left.items()))
    path = mounted.filesystem.overlay.table.path(opening.ino) or b""
    raise HeldBack(
        f"{printable(os.fsdecode(path))}: open, and what was written to it cannot be had:"
        f" {os.strerror(number)} (close it, or fsync it, and save again)"
    )


async def _left(
    mounted: Mounted, served: Served, openings: Iterable[Opening]
) -> dict[Opening, int]:
    """Have files written out; return those that could not be had and are still open, with an errno each."""
    table, going_on = mounted.filesystem.overlay.table, mounted.filesystem.openings.goes_on
    asked = {one.ino: one for one in openings if going_on(one)}
    paths = {ino: path for ino in asked if (path := table.path(ino)) is not None}
    failed = await _write_out(served, paths)
    # one that was closed meanwhile was handed out for that; one without a name is in no save
    return {
        asked[ino]: number
        for ino, number in failed
        if going_on(asked[ino]) and table.path(ino) is not None
    }


async def _write_out(served: Served, paths: Mapping[int, bytes]) -> list[tuple[int, int]]:
    """Return inode and errno of those that could not be opened and fsynced under their paths."""
    if not paths:
        return []
    point = os.fsdecode(served.point)
    done = await trio.run_process(
        [sys.executable, "-IS", writing_out.__file__, point, str(served.minor)],
        stdin=b"".join(b"%d %s\0" % path for path in paths.items()),
        capture_stdout=True,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode != 0:
        raise HeldBack(f"{point}: the mount is not there any more")
    failed = (line.split() for line in done.stdout.decode().splitlines())
    return [(int(ino), int(number)) for ino, number in failed]
