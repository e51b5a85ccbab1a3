"""Where hub mounts are: a name is a directory of the user's run directory, a path is itself."""

import os

from hubfs.errors import BadCommand, NoSuchHub
from lib9.fuse import mounts


def place_of(name: str, run_directory: str) -> str:
    """Return the mount point that `name` means; BadCommand for what can be no name."""
    if "/" in name:
        return os.path.abspath(name)
    if not name or name.startswith("."):
        raise BadCommand(f"{name!r}: not a name for a hub mount")
    return os.path.join(run_directory, "hubs", name)


def is_hub_mount(point: str) -> bool:
    """Tell from the mount table, without touching a mount that may hang."""
    try:
        mount = mounts.fuse_mount_at(os.fsencode(point))
    except OSError:
        return False
    return mount is not None and mount.fstype == b"fuse.hubfs" and not mounts.is_dead(mount)


def existing_mount(name: str, run_directory: str) -> str:
    """Return the mount point of a hub mount; NoSuchHub if nothing is mounted there."""
    point = place_of(name, run_directory)
    if not is_hub_mount(point):
        raise NoSuchHub(f"{name}: no hub mount at {point}")
    return point
