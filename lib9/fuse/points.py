"""Whether a place is fit to mount on."""

import os
from errno import ENOTCONN

from lib9.fuse import mounts
from lib9.fuse.errors import MountFailed


def make_ready(point: bytes) -> bool:
    """Check that `point` is an empty directory where nothing is mounted; MountFailed.

    A dead mount there is removed; True if there was one.
    """
    shown = os.fsdecode(point)
    try:
        cleaned = mounts.clean_dead(point)
        names = os.listdir(point)
    except OSError as error:
        why = "a dead mount that cannot be removed" if error.errno == ENOTCONN else error.strerror
        raise MountFailed(f"{shown}: {why}") from error
    if mounts.fuse_mount_at(point) is not None:
        raise MountFailed(f"{shown}: something is mounted there already")
    if names:
        raise MountFailed(f"{shown}: not empty")
    return cleaned
