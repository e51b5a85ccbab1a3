"""Extended attributes of host files, ACLs and capabilities among them, as sorted pairs of bytes."""

import errno
import os

from fossil_fs.format.xattrs import Xattrs

# Signed over the inode's number on its own file system: it cannot be right anywhere else.
UNMOVABLE = frozenset({b"security.evm"})

_NONE_THERE = frozenset({errno.ENOTSUP, errno.ENOSYS})


def read_xattrs(target: int | bytes) -> Xattrs:
    """Return all attributes of an open file, or of a path whose last part is not followed."""
    try:
        names = (
            os.listxattr(target)
            if isinstance(target, int)
            else os.listxattr(target, follow_symlinks=False)
        )
    except OSError as error:
        if error.errno in _NONE_THERE:
            return ()
        raise
    if not names:
        return ()
    pairs = []
    for text in names:
        name = os.fsencode(text)
        if name in UNMOVABLE:
            continue
        try:
            value = (
                os.getxattr(target, name)
                if isinstance(target, int)
                else os.getxattr(target, name, follow_symlinks=False)
            )
        except OSError as error:
            if error.errno == errno.ENODATA:  # removed meanwhile
                continue
            raise
        pairs.append((name, value))
    pairs.sort()
    return tuple(pairs)


def beside(dir_fd: int, name: bytes) -> bytes:
    """Return a path to `name` in the directory `dir_fd`, for calls that take no directory fd."""
    return b"/proc/self/fd/%d/%b" % (dir_fd, name)
