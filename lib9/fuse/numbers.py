"""What numbers of the wire format mean: opcodes, those of a SETATTR, the flags of an opened file."""

from typing import Final

from lib9.fuse.interface import Changes, OpenFile

# opcodes and the methods of RawHandlers that answer them
READING: Final = {
    1: "lookup",
    3: "getattr",
    5: "readlink",
    15: "read",
    22: "getxattr",
    23: "listxattr",
    40: "poll",
    44: "readdir",
    46: "lseek",
    52: "statx",
}
CHANGING: Final = {
    4: "setattr",
    6: "symlink",
    8: "mknod",
    9: "mkdir",
    10: "unlink",
    11: "rmdir",
    12: "rename",
    13: "link",
    14: "open",
    16: "write",
    17: "statfs",
    18: "release",
    20: "fsync",
    21: "setxattr",
    24: "removexattr",
    25: "flush",
    27: "opendir",
    29: "releasedir",
    30: "fsyncdir",
    35: "create",
    43: "fallocate",
    45: "rename2",
    47: "copy_file_range",
    51: "tmpfile",
}


def open_flags(opened: OpenFile) -> int:
    """Return the FOPEN flags of an answer to OPEN."""
    return (
        opened.direct_io * 1 | opened.keep_cache * 2 | opened.nonseekable * 4 | opened.stream * 16
    )


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def _nanoseconds(seconds: int, rest: int) -> int:
    return _signed(seconds) * 1_000_000_000 + rest


def changes_of(numbers: tuple[int, ...]) -> Changes:
    """Return what the numbers of a SETATTR ask for (see its row in wire.c)."""
    valid, _fh, size, atime, mtime, ctime, atime_rest, mtime_rest, ctime_rest, mode, uid, gid = (
        numbers
    )
    changes = Changes()
    if valid & 1:
        changes.mode = mode
    if valid & 2:
        changes.uid = uid
    if valid & 4:
        changes.gid = gid
    if valid & 8:
        changes.size = size
    if valid & 0x80:
        changes.atime_now = True
    elif valid & 0x10:
        changes.atime_ns = _nanoseconds(atime, atime_rest)
    if valid & 0x100:
        changes.mtime_now = True
    elif valid & 0x20:
        changes.mtime_ns = _nanoseconds(mtime, mtime_rest)
    if valid & 0x400:
        changes.ctime_ns = _nanoseconds(ctime, ctime_rest)
    return changes
