"""The answer to FUSE_INIT: what the kernel may do and how much. Bytes only.

Source: the kernel's include/uapi/linux/fuse.h, protocol 7.
"""

import struct

from lib9.fuse.options import MountOptions

MAJOR = 7
MINOR = 40  # what the answers here are made for; the kernel adapts to a lower number, not we
MAX_WRITE = 1 << 20
MAX_PAGES = 256  # the kernel's default limit
MAX_BACKGROUND = (
    64  # read-ahead and write-back requests at once; the kernel's default of 12 starves a disk
)
TIME_GRANULARITY_NS = 1

FLAGS = {
    name: 1 << bit
    for bit, name in {
        0: "ASYNC_READ",
        3: "ATOMIC_O_TRUNC",
        5: "BIG_WRITES",
        6: "DONT_MASK",
        12: "AUTO_INVAL_DATA",
        13: "DO_READDIRPLUS",
        15: "ASYNC_DIO",
        16: "WRITEBACK_CACHE",
        18: "PARALLEL_DIROPS",
        20: "POSIX_ACL",
        22: "MAX_PAGES",
        23: "CACHE_SYMLINKS",
        28: "HANDLE_KILLPRIV_V2",
        30: "INIT_EXT",
        40: "ALLOW_IDMAP",
    }.items()
}
_ALWAYS = (
    "ASYNC_READ",
    "BIG_WRITES",
    "AUTO_INVAL_DATA",
    "DO_READDIRPLUS",
    "ASYNC_DIO",
    "PARALLEL_DIROPS",
    "MAX_PAGES",
    "CACHE_SYMLINKS",
    "HANDLE_KILLPRIV_V2",  # else every write(2) asks for security.capability first
    "INIT_EXT",
)
_ANSWER = struct.Struct("=IIIIHHIIHHIIH22x")
assert _ANSWER.size == 64


def wanted(options: MountOptions) -> int:
    """Return the flags that a mount with these options asks for.

    With `no_open` there is no ATOMIC_O_TRUNC: the kernel would leave the truncation to an OPEN that
    never comes. ALLOW_IDMAP without default_permissions makes the kernel refuse everything.
    """
    names = {
        "ATOMIC_O_TRUNC": not options.no_open,
        "WRITEBACK_CACHE": options.writeback_cache,
        "POSIX_ACL": options.posix_acl,
        "DONT_MASK": options.posix_acl,
        "ALLOW_IDMAP": options.idmapped and options.default_permissions,
    }
    return sum(FLAGS[name] for name in (*_ALWAYS, *(n for n, wish in names.items() if wish)))


def init_answer(minor: int, offered: int, options: MountOptions) -> bytes:
    """Return the body of the answer to a kernel of version 7.`minor` that offers these flags."""
    granted = wanted(options) & offered
    return _ANSWER.pack(
        MAJOR,
        min(minor, MINOR),
        options.read_ahead_kib * 1024,
        granted & 0xFFFFFFFF,
        MAX_BACKGROUND,
        MAX_BACKGROUND * 3 // 4,
        MAX_WRITE,
        TIME_GRANULARITY_NS,
        MAX_PAGES,
        0,
        granted >> 32,
        0,
        0,
    )
