"""Directories being filled, held open: a name is only ever used inside the directory it is meant for.

No path is given to the kernel as a whole and no symlink is followed, so a tree from a stranger, or
a stranger who moves things about meanwhile, cannot make us write outside the target.
"""

import errno
import os
import stat
from collections.abc import Sequence
from typing import Final

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PATH: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def open_target(path: bytes) -> int:
    """Open the directory that the user named, made if it is not there; symlinks to it are followed."""
    os.makedirs(path, mode=0o700, exist_ok=True)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def make_directory(dir_fd: int, name: bytes, *, replace: bool) -> int:
    """Make and open the directory `name`, or open the one that is there; OSError for anything else."""
    try:
        os.mkdir(name, 0o700, dir_fd=dir_fd)
    except FileExistsError:
        if replace and not _is_directory(dir_fd, name):
            os.unlink(name, dir_fd=dir_fd)
            os.mkdir(name, 0o700, dir_fd=dir_fd)
    try:
        return os.open(name, _DIRECTORY, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise FileExistsError(errno.EEXIST, "something else is there already") from None
        raise


def make_file(dir_fd: int, name: bytes) -> int:
    """Make the file `name` and open it to write; FileExistsError for whatever is there."""
    return os.open(name, _NEW, 0o600, dir_fd=dir_fd)


def make_special(dir_fd: int, name: bytes, mode: int, rdev: int) -> None:
    """Make a fifo, socket or device."""
    os.mknod(name, stat.S_IFMT(mode) | 0o600, rdev, dir_fd=dir_fd)


def clear(dir_fd: int, name: bytes) -> None:
    """Remove `name` if it is there and no directory."""
    if not _is_directory(dir_fd, name):
        try:
            os.unlink(name, dir_fd=dir_fd)
        except FileNotFoundError:
            return


def open_path(dir_fd: int, name: bytes) -> int:
    """Return a descriptor that only stands for the inode `name`, of whatever type."""
    return os.open(name, _PATH, dir_fd=dir_fd)


def descend(top_fd: int, parts: Sequence[bytes]) -> int:
    """Open the directory that `parts` lead to below `top_fd`."""
    fd = os.dup(top_fd)
    for part in parts:
        below = os.open(part, _DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    return fd


def link_again(
    top_fd: int, first: Sequence[bytes], inode: tuple[int, int], dir_fd: int, name: bytes
) -> None:
    """Give the inode that was made as `first` below `top_fd` the name `name` in `dir_fd` too."""
    above = descend(top_fd, first[:-1])
    try:
        os.link(first[-1], name, src_dir_fd=above, dst_dir_fd=dir_fd, follow_symlinks=False)
    finally:
        os.close(above)
    made = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    if (made.st_dev, made.st_ino) != inode:
        os.unlink(name, dir_fd=dir_fd)
        raise OSError(errno.ESTALE, "its first name was exchanged meanwhile")


def _is_directory(dir_fd: int, name: bytes) -> bool:
    try:
        state = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(state.st_mode)
