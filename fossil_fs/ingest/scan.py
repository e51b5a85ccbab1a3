"""What a directory of the host holds: names and their stat, sorted bytewise, no link followed."""

import os
import stat
from collections.abc import Callable
from typing import NamedTuple

# A kernel time stamp may lag behind the clock by one tick (10 ms at HZ=100).
STAMP_LAG_NS = 20_000_000

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class Found(NamedTuple):
    """A name in a directory and what lstat says of it."""

    name: bytes
    stat: os.stat_result


def open_top(path: bytes) -> int:
    """Open a directory that the user named; here, and only here, a symlink is followed."""
    return _without_atime(path, _DIRECTORY, None)


def open_directory(name: bytes, dir_fd: int) -> int:
    """Open the directory `name` inside `dir_fd`; OSError when it is none, or a symlink by now."""
    return _without_atime(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd)


def open_file(name: bytes, dir_fd: int) -> int:
    """Open the regular file `name` inside `dir_fd` to read; never waits for a fifo or a device."""
    return _without_atime(name, _FILE, dir_fd)


def _without_atime(name: bytes, flags: int, dir_fd: int | None) -> int:
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=dir_fd)
    except PermissionError:  # only the owner may leave the access time alone
        return os.open(name, flags, dir_fd=dir_fd)


def list_directory(fd: int, vanished: Callable[[bytes, OSError], None]) -> list[Found]:
    """Return all names in the directory `fd`, sorted bytewise; what cannot be stat'ed is told."""
    found = []
    with os.scandir(fd) as entries:
        for entry in entries:
            name = os.fsencode(entry.name)
            try:
                found.append(Found(name, entry.stat(follow_symlinks=False)))
            except OSError as error:
                vanished(name, error)
    found.sort()  # names differ, so no stat is ever compared
    return found


def same_state(a: os.stat_result, b: os.stat_result) -> bool:
    """Tell whether a file was left alone between two looks at it."""
    return (
        a.st_ctime_ns == b.st_ctime_ns
        and a.st_mtime_ns == b.st_mtime_ns
        and a.st_size == b.st_size
        and a.st_ino == b.st_ino
        and a.st_mode == b.st_mode
    )


def is_sparse(state: os.stat_result) -> bool:
    """Tell whether a file has fewer bytes on disk than it is long."""
    return stat.S_ISREG(state.st_mode) and state.st_blocks * 512 < state.st_size
