"""Setuid and setgid go when somebody changes a file: what the kernel leaves to the file system.

With HANDLE_KILLPRIV_V2 the kernel says in each request when; without it, only opening with O_TRUNC is left
to us. File capabilities are the kernel's own affair: it removes the attribute itself.
"""

from stat import S_ISDIR, S_ISGID, S_ISUID, S_IXGRP

from lib9.fuse.interface import Caller, Changes, Operations


def without_privileges(mode: int) -> int:
    """Return what becomes of a mode when another than its owner changes a file (or its owner)."""
    if S_ISDIR(mode):
        return mode
    return mode & ~(S_ISUID | S_ISGID if mode & S_IXGRP else S_ISUID)


async def drop_privileges(operations: Operations, ino: int, who: Caller) -> None:
    now = await operations.getattr(ino, who)
    mode = without_privileges(now.mode)
    if mode != now.mode:
        await operations.setattr(ino, Changes(mode=mode), 0, who)
