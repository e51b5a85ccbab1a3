"""Mounts that tests leave behind, taken down whatever state they are in."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

from lib9.fuse import mounts
from lib9.fuse.errors import NotMounted

STACKED_MAX = 16  # mounts on one point, or below it


def take_down(top: Path) -> None:
    """End every mount at `top` and below it by force: what waits on a FUSE mount fails.

    No mount is asked anything: dead ones and ones that hang go too. AssertionError if one stays.
    """
    for _ in range(STACKED_MAX):
        found = mounts_below(top)
        if not found:
            return
        last = found[-1]  # the latest: it may lie on an earlier one
        if last.is_fuse:
            # it may have gone meanwhile, or another's may have its number
            with suppress(OSError, NotMounted):
                mounts.abort(last.minor)
        subprocess.run(["umount", "-l", last.point], check=False, capture_output=True)
    raise AssertionError(f"still mounted: {mounts_below(top)}")


def mounts_below(top: Path) -> list[mounts.Mount]:
    """Return the mounts at `top` and below, in the order they were made."""
    path = os.fsencode(top)
    return [m for m in mounts.read_mounts() if m.point == path or m.point.startswith(path + b"/")]


def mount_tables() -> list[list[mounts.Mount]]:
    """Return the mount table of each namespace that a process lives in."""
    found: dict[str, list[mounts.Mount]] = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):  # it has ended, or is another's
                name = os.readlink(process / "ns" / "mnt")
                if name not in found:
                    table = (process / "mountinfo").read_bytes()
                    found[name] = mounts.parse_mountinfo(table)
    return list(found.values())


def namespaces_with(mount: mounts.Mount) -> int:
    """Return how many namespaces have this mount: its daemon serves until none has.

    The point tells it from another's mount that got its number meanwhile.
    """
    return sum(
        any(m.minor == mount.minor and m.point == mount.point and m.is_fuse for m in table)
        for table in mount_tables()
    )
