"""vac's mode bits and Linux's st_mode, each from the other."""

import stat
from functools import lru_cache
from typing import Final, NamedTuple

from venti_store.errors import BadTree


class Bit(NamedTuple):
    """A bit of the stored mode; `linux` are the bits of st_mode it stands for, 0 where none."""

    number: int
    name: str
    linux: int
    meaning: str


BITS: Final = (
    Bit(9, "sticky", stat.S_ISVTX, "sticky"),
    Bit(10, "setuid", stat.S_ISUID, "set user id"),
    Bit(11, "setgid", stat.S_ISGID, "set group id"),
    Bit(12, "append", 0, "append only"),
    Bit(13, "exclusive", 0, "exclusive use"),
    Bit(14, "link", stat.S_IFLNK, "symbolic link: the content is the target"),
    Bit(15, "dir", stat.S_IFDIR, "directory"),
    Bit(16, "hidden", 0, "hidden"),
    Bit(17, "system", 0, "system"),
    Bit(18, "archive", 0, "archive"),
    Bit(19, "temporary", 0, "temporary"),
    Bit(20, "snapshot", 0, "a snapshot (fossil)"),
    Bit(21, "device", stat.S_IFCHR, "character device, or block device with bit 24"),
    Bit(22, "pipe", stat.S_IFIFO, "named pipe, or socket with bit 23"),
    Bit(23, "socket", 0, "with bit 22: a socket (ours; others see a pipe)"),
    Bit(24, "block", 0, "with bit 21: a block device (ours; others ask the content)"),
)

PERMISSIONS: Final = 0o777
LINK: Final = 1 << 14
DIR: Final = 1 << 15
SNAPSHOT: Final = 1 << 20
DEVICE: Final = 1 << 21
PIPE: Final = 1 << 22
SOCKET: Final = 1 << 23
BLOCK: Final = 1 << 24

_SPECIAL = tuple((1 << bit.number, bit.linux) for bit in BITS if bit.number in (9, 10, 11))
_FROM_TYPE = {
    stat.S_IFREG: 0,
    stat.S_IFLNK: LINK,
    stat.S_IFDIR: DIR,
    stat.S_IFCHR: DEVICE,
    stat.S_IFBLK: DEVICE | BLOCK,
    stat.S_IFIFO: PIPE,
    stat.S_IFSOCK: PIPE | SOCKET,
}
_TO_TYPE = {bits: kind for kind, bits in _FROM_TYPE.items()}
TYPE_BITS: Final = LINK | DIR | DEVICE | PIPE | SOCKET | BLOCK


@lru_cache(1024)  # few modes are in use
def to_stored(st_mode: int) -> int:
    """Return the stored bits for st_mode; ValueError for a file type Linux does not have."""
    kind = _FROM_TYPE.get(stat.S_IFMT(st_mode))
    if kind is None:
        raise ValueError(f"no file type {stat.S_IFMT(st_mode):#o}")
    bits = kind | (st_mode & PERMISSIONS)
    for stored, linux in _SPECIAL:
        if st_mode & linux:
            bits |= stored
    return bits


def to_linux(bits: int) -> int:
    """Return st_mode for stored bits; BadTree if they say two types. Plan 9's own bits are dropped."""
    kind = _TO_TYPE.get(bits & TYPE_BITS)
    if kind is None:
        raise BadTree(f"mode {bits:#o} is of two types")
    st_mode = kind | (bits & PERMISSIONS)
    for stored, linux in _SPECIAL:
        if bits & stored:
            st_mode |= linux
    return st_mode
