"""System calls that Python 3.11 does not have: openat2, unshare, the mounts of kernel 5.12 and later.

Source: openat2(2), setfsuid(2), unshare(2), open_tree(2), mount_setattr(2), move_mount(2).
"""

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

NEW_MOUNTS: Final = 0x00020000
NEW_USERS: Final = 0x10000000
IN_ROOT: Final = 0x10  # absolute links and `..` stay below the directory
NO_LINKS: Final = 0x04
NO_MAGIC_LINKS: Final = 0x02
BENEATH: Final = 0x08

_OPEN_TREE, _MOVE_MOUNT, _OPENAT2, _MOUNT_SETATTR = 428, 429, 437, 442  # on every architecture
_CLONE_TREE, _EMPTY_PATH, _RECURSIVE = 1, 0x1000, 0x8000
_FROM_EMPTY_PATH = 4
_ATTR_NOSUID, _ATTR_NODEV, _ATTR_IDMAP = 0x02, 0x04, 0x100000
_PRIVATE, _REC = 1 << 18, 0x4000
_HOW = struct.Struct("=QQQ")
_ATTR = struct.Struct("=QQQQ")

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def open_below(directory: int, path: str, flags: int, resolve: int, mode: int = 0) -> int:
    """Return a descriptor of `path` below a directory, as `resolve` allows; OSError."""
    how = _HOW.pack(flags | os.O_CLOEXEC, mode, resolve)
    name = os.fsencode(path) + b"\0"
    return _check(_libc.syscall(_OPENAT2, directory, name, how, ctypes.c_size_t(_HOW.size)), path)


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def keep_mounts_private() -> None:
    """Let no mount of this mount namespace be seen outside it, nor the other way round."""
    _check(_libc.mount(b"none", b"/", None, ctypes.c_ulong(_REC | _PRIVATE), None), "/")


def copy_mount(directory: int, *, users: int | None) -> int:
    """Return a detached copy of the mount at a directory, with no set-id programs and no devices.

    `users`: the user namespace whose ids the copy's files appear with. EINVAL where the file system
    has no idmapped mounts.
    """
    empty = b"\0"
    tree = _check(
        _libc.syscall(_OPEN_TREE, directory, empty, _CLONE_TREE | _EMPTY_PATH | os.O_CLOEXEC),
        "open_tree",
    )
    flags = _ATTR_NOSUID | _ATTR_NODEV | (0 if users is None else _ATTR_IDMAP)
    attributes = _ATTR.pack(flags, 0, 0, users or 0)
    try:
        _check(
            _libc.syscall(
                _MOUNT_SETATTR, tree, empty, _EMPTY_PATH, attributes, ctypes.c_size_t(_ATTR.size)
            ),
            "mount_setattr",
        )
    except OSError:
        os.close(tree)
        raise
    return tree


def put_mount(tree: int, target: str) -> None:
    """Attach a detached mount."""
    at_cwd = ctypes.c_int(-100)
    _check(
        _libc.syscall(
            _MOVE_MOUNT, tree, b"\0", at_cwd, os.fsencode(target) + b"\0", _FROM_EMPTY_PATH
        ),
        target,
    )


@contextmanager
def files_of(owner: int) -> Iterator[None]:
    """Let what this thread makes belong to a user and the group of the same number."""
    _libc.setfsgid(owner)
    _libc.setfsuid(owner)
    try:
        yield
    finally:
        _libc.setfsuid(0)
        _libc.setfsgid(0)


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
