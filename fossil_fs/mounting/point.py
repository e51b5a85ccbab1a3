"""Mount points that are mounted by us. A mount is never asked who it is."""

import ctypes
import os

from fossil_fs.mounting.registry import Registry, Running
from lib9.fuse import mounts
from lib9.fuse.errors import MountFailed, NotMounted


def find_mount(registry: Registry, point: bytes) -> Running:
    """Return the mount of ours at `point`; NotMounted, MountFailed for a dead one."""
    shown = os.fsdecode(point)
    try:
        mount = mounts.fuse_mount_at(point)
    except OSError as error:
        raise NotMounted(f"{shown}: {error.strerror}") from error
    if mount is None:
        raise NotMounted(f"{shown}: no mount of ours is there")
    running = registry.at(mount.minor)
    if running is not None:
        return running
    if mounts.is_dead(mount):
        raise DeadMount(shown, next((r.id for r in registry.all() if r.minor == mount.minor), "ID"))
    raise NotMounted(f"{shown}: mounted by something else, or by another user")


def fossil_mount_at(point: bytes) -> mounts.Mount:
    """Return the fossil mount at `point`, whoever serves it or nobody; NotMounted."""
    try:
        mount = mounts.fuse_mount_at(point)
    except OSError as error:
        raise NotMounted(f"{os.fsdecode(point)}: {error.strerror}") from error
    if mount is None or mount.fstype != b"fuse.fossil":
        raise NotMounted(f"{os.fsdecode(point)}: no mount of ours is there")
    return mount


class DeadMount(MountFailed):
    """The daemon of a mount was killed."""

    def __init__(self, shown: str, scratch: str) -> None:
        super().__init__(
            f"{shown}: its daemon is gone: `fossil-umount {shown}`, then"
            f" `fossil-scratch resume {scratch} {shown}`"
        )
        self.scratch = scratch


def sync_mount(point: bytes) -> None:
    """Let the kernel write out what it holds back for a mount, mmapped pages too (syncfs(2))."""
    descriptor = os.open(point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), point)
    finally:
        os.close(descriptor)
