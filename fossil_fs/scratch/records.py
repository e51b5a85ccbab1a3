"""How the scratch's metadata is laid out: keys and values.

| key | value |
|---|---|
| `i` inode | `Inode`: everything of a changed file but names, xattrs and bytes |
| `d` inode name | inode that the directory has under this name, 0: the name is gone from the base |
| `c` inode | all bytes of a small file, or the target of a symlink |
| `x` inode name | an extended attribute |
| `l` number | inode that stands for a number in the links, 0: it has no name any more |
| `o` inode | an inode without a name, kept while it is open |
| `s` word | the state of the scratch itself |
| `p` number | an epoch that ended, a snapshot: its time, name, base (history.py) |
| `h` key number | what that epoch and those before it see as the value of `key` |
| `e` number key | nothing: that epoch has a value put aside for `key` |

Numbers in keys are 8 bytes, big-endian. Entries of hash trees are opaque bytes here.
"""

import struct
from typing import Final, NamedTuple

from fossil_fs.scratch.errors import ScratchDamaged

ROOT: Final = 1  # the root directory's inode number
INODE_END: Final = (1 << 64) - (1 << 48)  # what the tree's inode numbers are below
GONE: Final = 0  # the inode of a name that the base has and the mount has not
NOT_COUNTED: Final = 0xFFFFFFFF  # `subdirs` of a directory whose base was never counted
INLINE_SIZE_MAX: Final = 64 << 10  # bytes of a file kept in the metadata

_FIXED: Final = struct.Struct("<QIIIQIQqqqqQqIBBBBB")
_LAYER: Final = struct.Struct("<QQ")
_NUMBER: Final = struct.Struct(">Q")

XATTRS_HERE: Final = 1  # flag: the extended attributes are under `x`, the base's do not count
LINK_IN_BASE: Final = 4  # flag: the base's links have this inode
INLINE: Final = 2  # flag: the bytes are under `c`, the base's do not count


class Layer(NamedTuple):
    """A sparse file of changed pages. Below it `limit` bytes of the older content are visible."""

    number: int
    limit: int


class Inode(NamedTuple):
    """A changed inode. Times in nanoseconds; `link` is a number in the links or -1.

    Of a directory, `rdev` is what its base adds to qids.
    `content`, `meta`, `xattr_stream` are packed entries of the base, b"" for none. The bytes of a
    file are those of `content`, then of the layers, the last on top.
    """

    version: int
    mode: int
    uid: int
    gid: int
    rdev: int
    nlink: int
    size: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    btime_ns: int
    qid: int
    link: int
    subdirs: int
    flags: int
    content: bytes
    meta: bytes
    xattr_stream: bytes
    layers: tuple[Layer, ...]


def with_version(inode: Inode, version: int) -> Inode:
    """Return an inode with another version: `_replace`, in a third of its time."""
    return tuple.__new__(Inode, (version, *inode[1:]))


def with_times(inode: Inode, mtime_ns: int, ctime_ns: int) -> Inode:
    """Return an inode with other times: `_replace`, in a third of its time."""
    return tuple.__new__(Inode, (*inode[:8], mtime_ns, ctime_ns, *inode[10:]))


def pack_inode(inode: Inode) -> bytes:
    *numbers, content, meta, xattrs, layers = inode
    fixed = _FIXED.pack(*numbers, len(content), len(meta), len(xattrs), len(layers))
    if not (content or meta or xattrs or layers):
        return fixed
    return b"".join((fixed, content, meta, xattrs, *[_LAYER.pack(*layer) for layer in layers]))


def unpack_inode(data: bytes) -> Inode:
    """Return the inode in a value; ScratchDamaged when it cannot be one."""
    if len(data) < _FIXED.size:
        raise ScratchDamaged("an inode of its metadata is cut short")
    fields = _FIXED.unpack_from(data)
    content, meta, xattrs, layers = fields[15:]
    a = _FIXED.size + content
    b = a + meta
    c = b + xattrs
    if len(data) != c + layers * _LAYER.size:
        raise ScratchDamaged("an inode of its metadata has a wrong length")
    stack = tuple(Layer(*pair) for pair in _LAYER.iter_unpack(data[c:])) if layers else ()
    return Inode._make((*fields[:15], data[_FIXED.size : a], data[a:b], data[b:c], stack))


def inode_key(ino: int) -> bytes:
    return b"i" + _NUMBER.pack(ino)


def name_key(directory: int, name: bytes) -> bytes:
    return b"d" + _NUMBER.pack(directory) + name


def content_key(ino: int) -> bytes:
    return b"c" + _NUMBER.pack(ino)


def xattr_key(ino: int, name: bytes) -> bytes:
    return b"x" + _NUMBER.pack(ino) + name


def link_key(slot: int) -> bytes:
    return b"l" + _NUMBER.pack(slot)


def orphan_key(ino: int) -> bytes:
    return b"o" + _NUMBER.pack(ino)


def state_key(word: bytes) -> bytes:
    return b"s" + word


def pack_number(number: int) -> bytes:
    return _NUMBER.pack(number)


def unpack_number(data: bytes) -> int:
    """Return the number in a key's rest or a value; ScratchDamaged when it is none."""
    if len(data) != _NUMBER.size:
        raise ScratchDamaged("a number of its metadata has a wrong length")
    (number,) = _NUMBER.unpack(data)
    return int(number)
