"""System calls that Python does not have, and processes of other users."""

import ctypes
import errno
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lib9.fuse.options import ENGINE_VARIABLE, STOCK

T = TypeVar("T")

STOCK_ENGINE = os.environ.get(ENGINE_VARIABLE) == STOCK  # mounts of this run are served by it

USER, GROUP = 1201, 1202  # an ordinary user, who need not exist
AT_FDCWD = -100
AT_SYMLINK_FOLLOW = 0x400
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE = 1, 2, 8, 16
_HANDLE_BYTES_MAX = 128

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def renameat2(old: Path, new: Path, flags: int) -> None:
    _check(_libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags))


def fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    _check(_libc.fallocate(descriptor, mode, ctypes.c_int64(offset), ctypes.c_int64(length)))


def link_open_file(descriptor: int, new: Path) -> None:
    """Give an open file, which may have no name, a name."""
    here = b"/proc/self/fd/%d" % descriptor
    _check(_libc.linkat(AT_FDCWD, here, AT_FDCWD, os.fsencode(new), AT_SYMLINK_FOLLOW))


class Handle(ctypes.Structure):
    """struct file_handle."""

    _fields_ = (
        ("bytes", ctypes.c_uint),
        ("type", ctypes.c_int),
        ("handle", ctypes.c_ubyte * _HANDLE_BYTES_MAX),
    )


def name_to_handle(path: Path) -> Handle:
    handle = Handle(bytes=_HANDLE_BYTES_MAX)
    mount = ctypes.c_int()
    _check(
        _libc.name_to_handle_at(
            AT_FDCWD, os.fsencode(path), ctypes.byref(handle), ctypes.byref(mount), 0
        )
    )
    return handle


def open_by_handle(mount: Path, handle: Handle, flags: int) -> int:
    directory = os.open(mount, os.O_RDONLY)
    try:
        return _check(_libc.open_by_handle_at(directory, ctypes.byref(handle), flags))
    finally:
        os.close(directory)


def as_user(
    call: Callable[[], T], uid: int = USER, gid: int = GROUP, groups: tuple[int, ...] = ()
) -> T:
    """Return what `call` returns in a process of another user; its OSError is raised here."""
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            answer: object
            try:
                answer = call()
            except OSError as error:
                answer = OSError(error.errno, error.strerror)
            os.write(there, pickle.dumps(answer))
        finally:
            os._exit(0)
    os.close(there)
    with open(here, "rb") as stream:
        data = stream.read()
    os.waitpid(child, 0)
    assert data, "the process of the other user failed"
    found = pickle.loads(data)
    if isinstance(found, OSError):
        raise found
    return found  # type: ignore[no-any-return]


def errno_of(call: Callable[[], object]) -> str:
    """Return the name of the error that a call ends with, "" if it succeeds."""
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""
