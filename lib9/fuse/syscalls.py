"""mount(2) and umount2(2), which Python does not have. Imports nothing heavy: it runs before the rest."""

import ctypes
import os

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: bytes) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fsdecode(what))


def mount(source: bytes, target: bytes, fstype: bytes, flags: int, data: bytes) -> None:
    """mount(2); raises OSError."""
    _check(_libc.mount(source, target, fstype, ctypes.c_ulong(flags), data), target)


def umount(target: bytes, *, detach: bool = False) -> None:
    """umount2(2), which may wait for the file system to write its dirty pages; raises OSError."""
    flags = UMOUNT_NOFOLLOW | (MNT_DETACH if detach else 0)
    _check(_libc.umount2(target, ctypes.c_int(flags)), target)
