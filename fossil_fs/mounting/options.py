"""What is to be mounted where, and how the kernel is asked to. Imports nothing heavy: the mount is
there before its daemon is.
"""

import os
import signal
from dataclasses import dataclass

from fossil_fs.scratch.place import Identity
from lib9.fuse.interface import MountOptions
from venti_store.open import is_local

HALTING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # they end a mount in good order


@dataclass(frozen=True, slots=True)
class Mounting:
    """What to mount where. `scratch` exists and names base and store."""

    id: str
    mnt: bytes
    scratch: bytes
    read_only: bool = False
    allow_other: bool = False
    writeback: bool = False


def mount_options(mounting: Mounting, identity: Identity) -> MountOptions:
    """Return how a tree is mounted. Root's mounts honour setuid and device files, as disks do."""
    return MountOptions(
        fsname=identity.base,
        subtype="fossil",
        read_only=mounting.read_only,
        allow_other=mounting.allow_other,
        writeback_cache=mounting.writeback and not mounting.read_only,
        posix_acl=True,
        no_open=True,
        follow=True,
        interruptible=not is_local(identity.store),
        suid=os.geteuid() == 0,
        dev=os.geteuid() == 0,
    )
