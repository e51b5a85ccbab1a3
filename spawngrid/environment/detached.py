"""Mounts that are made apart from any tree, and put in place afterwards: by kernel 5.12 and later.

They can be made in one mount namespace and put in place in another, by who may mount there. Source:
open_tree(2), mount_setattr(2), fsopen(2), fsconfig(2), fsmount(2), move_mount(2).
"""

import ctypes
import os
import struct
from collections.abc import Sequence
from typing import Final

from spawngrid.environment.kernel import check, libc

_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_MOUNT_SETATTR = 442
_CLONE_TREE, _EMPTY_PATH, _RECURSIVE = 0x1, 0x1000, 0x8000
_BOTH_EMPTY_PATHS = 0x4 | 0x40
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_IDMAP = 0x100000
_ATTRIBUTES: Final = {
    "ro": 0x1,
    "nosuid": 0x2,
    "nodev": 0x4,
    "noexec": 0x8,
    "relatime": 0x0,
    "strictatime": 0x20,
}
_ATTR = struct.Struct("=QQQQ")


def copy(
    directory: int,
    path: str = "",
    *,
    attributes: Sequence[str] = ("nosuid", "nodev"),
    users: int | None = None,
    whole: bool = False,
) -> int:
    """Return a detached copy of the mount at a path (below a directory, or that itself), restricted further.

    `whole`: with all that is mounted on it. `users`: the user namespace whose ids the copy's files appear
    with; EINVAL where the file system has no idmapped mounts.
    """
    flags = _CLONE_TREE | os.O_CLOEXEC | (0 if path else _EMPTY_PATH) | (_RECURSIVE * whole)
    tree = _call(_OPEN_TREE, path or "open_tree", directory, _text(path), flags)
    wanted = sum(_ATTRIBUTES[name] for name in attributes) | (0 if users is None else _IDMAP)
    try:
        attr = _ATTR.pack(wanted, 0, 0, users or 0)
        size = ctypes.c_size_t(_ATTR.size)
        how = _EMPTY_PATH | (_RECURSIVE * whole)
        _call(_MOUNT_SETATTR, "mount_setattr", tree, _text(""), how, attr, size)
    except OSError:
        os.close(tree)
        raise
    return tree


def make(kind: str, options: Sequence[str]) -> int:
    """Return a new file system in this process's namespaces, detached; OSError.

    `options`: as in fstab(5); those that are of every mount, and those of the kind.
    """
    context = _call(_FSOPEN, kind, _text(kind), 1)
    try:
        _call(_FSCONFIG, kind, context, _SET_STRING, _text("source"), _text(kind), 0)
        for option in options:
            name, given, value = option.partition("=")
            if given:
                _call(_FSCONFIG, option, context, _SET_STRING, _text(name), _text(value), 0)
            elif name not in _ATTRIBUTES:
                _call(_FSCONFIG, option, context, _SET_FLAG, _text(name), None, 0)
        _call(_FSCONFIG, kind, context, _CREATE, None, None, 0)
        attributes = sum(_ATTRIBUTES.get(option, 0) for option in options)
        return _call(_FSMOUNT, kind, context, 1, attributes)
    finally:
        os.close(context)


def put(tree: int, target: int) -> None:
    """Attach a detached mount to the directory or file of a descriptor."""
    _call(_MOVE_MOUNT, "move_mount", tree, _text(""), target, _text(""), _BOTH_EMPTY_PATHS)


def _text(text: str) -> bytes:
    return os.fsencode(text) + b"\0"


def _call(number: int, what: str, *arguments: object) -> int:
    return check(libc.syscall(number, *arguments), what)
