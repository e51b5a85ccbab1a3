"""What is to be mounted where, and how the kernel is asked to. Imports nothing heavy: the mount is
there before its daemon is.
"""

import os
import signal
from dataclasses import dataclass

from fossil_fs.ids import Shift
from fossil_fs.scratch.place import Identity
from fossil_fs.scratch.records import INODE_END
from lib9.fuse.options import MountOptions
from venti_store.open import is_local

HALTING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # they end a mount in good order
CONTROL = b".fossilfs"  # the control directory's name, if no other is asked for


@dataclass(frozen=True, slots=True)
class Mounting:
    """What to mount where. `scratch` exists and names base and store.

    `fault_seconds`: how long a read waits for a far store. `guests`: the tree is the root of programs
    that are not trusted. Everybody may enter as far as modes let them, ids can be mapped, set-id
    programs and device files are not honoured. `id_shift`: ids are seen shifted, for kernels that
    cannot map them.
    """

    id: str
    mnt: bytes
    scratch: bytes
    read_only: bool = False
    allow_other: bool = False
    writeback: bool = False
    control: bytes = CONTROL  # the name of the control directory, b"" for none
    guests: bool = False
    id_shift: Shift | None = None
    fault_seconds: float | None = None  # None: as long as it usually may take


def mount_options(mounting: Mounting, identity: Identity) -> MountOptions:
    """Return how a tree is mounted. Root's mounts honour setuid and device files, as disks do."""
    trusted = os.geteuid() == 0 and not mounting.guests
    return MountOptions(
        fsname=identity.base,
        subtype="fossil",
        read_only=mounting.read_only,
        allow_other=mounting.allow_other or mounting.guests,
        idmapped=mounting.guests and mounting.id_shift is None,
        writeback_cache=mounting.writeback and not mounting.read_only,
        posix_acl=True,
        eager=True,
        no_open=not mounting.writeback,  # what is open for writing is written out before a save
        interruptible=not is_local(identity.store),
        own_inodes=INODE_END,
        suid=trusted,
        dev=trusted,
    )
