"""System calls that Python 3.11 does not have: openat2, unshare, setns; user namespaces with ids of ours.

Source: openat2(2), setfsuid(2), unshare(2), setns(2), user_namespaces(7).
"""

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

NEW_MOUNTS: Final = 0x00020000  # the names of namespaces in unshare(2) and setns(2)
NEW_CGROUPS: Final = 0x02000000
NEW_NAMES: Final = 0x04000000
NEW_IPC: Final = 0x08000000
NEW_USERS: Final = 0x10000000
NEW_PROCESSES: Final = 0x20000000
NEW_NETWORK: Final = 0x40000000
IN_ROOT: Final = 0x10  # absolute links and `..` stay below the directory
NO_LINKS: Final = 0x04
NO_MAGIC_LINKS: Final = 0x02
BENEATH: Final = 0x08

_OPENAT2 = 437  # on every architecture
_SET_CHILD_SUBREAPER = 36
_PRIVATE, _REC = 1 << 18, 0x4000
_HOW = struct.Struct("=QQQ")

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> int:
    """Return what a system call returned; OSError if it failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def open_below(directory: int, path: str, flags: int, resolve: int, mode: int = 0) -> int:
    """Return a descriptor of `path` below a directory, as `resolve` allows; OSError."""
    how = _HOW.pack(flags | os.O_CLOEXEC, mode, resolve)
    name = os.fsencode(path) + b"\0"
    return check(libc.syscall(_OPENAT2, directory, name, how, ctypes.c_size_t(_HOW.size)), path)


def unshare(flags: int) -> None:
    """Give this process new namespaces; of processes, its children."""
    check(libc.unshare(flags), "unshare")


def enter(process: int, flags: int) -> None:
    """Enter namespaces of the process that a pidfd names, all at once; of processes, by children."""
    check(libc.setns(process, flags), "setns")


def keep_mounts_private() -> None:
    """Let no mount of this mount namespace be seen outside it, nor the other way round."""
    check(libc.mount(b"none", b"/", None, ctypes.c_ulong(_REC | _PRIVATE), None), "/")


@contextmanager
def files_of(owner: int) -> Iterator[None]:
    """Let what this thread makes belong to a user and the group of the same number."""
    libc.setfsgid(owner)
    libc.setfsuid(owner)
    try:
        yield
    finally:
        libc.setfsuid(0)
        libc.setfsgid(0)


def user_namespace(first: int, count: int) -> int:
    """Return a descriptor of a user namespace in which ids from 0 on are those from `first` on."""
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            unshare(NEW_USERS)
            os.write(ready[1], b".")
            os.close(go[1])
            os.read(go[0], 1)
        finally:
            os._exit(0)
    try:
        os.close(ready[1])
        os.close(go[0])
        if not os.read(ready[0], 1):
            raise OSError(1, "no user namespaces", "unshare")
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{child}/{name}", "w", encoding="ascii") as file:
                file.write(f"0 {first} {count}\n")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(ready[0])
        os.close(go[1])
        os.waitpid(child, 0)


def adopt() -> None:
    """Be the parent of whoever is left behind by this process's children."""
    check(libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")
