"""POSIX ACLs as their xattrs hold them: what they mean for a mode, and what a new file inherits.

The value is a version (2) and entries of tag, permissions and id, little-endian, in the order of
the tags. The kernel checks access; the file system keeps mode and ACL in agreement.
Source: acl(5); the layout is <linux/posix_acl_xattr.h>.
"""

import stat
import struct
from errno import EINVAL
from typing import Final, NamedTuple

ACCESS: Final = b"system.posix_acl_access"
DEFAULT: Final = b"system.posix_acl_default"

_VERSION: Final = struct.pack("<I", 2)
_ENTRY: Final = struct.Struct("<HHI")
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32


class Entry(NamedTuple):
    tag: int
    permissions: int
    id: int


def unpack(value: bytes) -> list[Entry]:
    """Return the entries; OSError EINVAL for what is no ACL."""
    body = value[len(_VERSION) :]
    if not value.startswith(_VERSION) or len(body) % _ENTRY.size:
        raise OSError(EINVAL, "ACL")
    return [Entry(*fields) for fields in _ENTRY.iter_unpack(body)]


def pack(entries: list[Entry]) -> bytes:
    return _VERSION + b"".join(_ENTRY.pack(*entry) for entry in entries)


def is_plain(value: bytes) -> bool:
    """Tell whether an ACL says no more than a mode does."""
    return all(entry.tag in (USER_OBJ, GROUP_OBJ, OTHER) for entry in unpack(value))


def mode_of(value: bytes, mode: int) -> int:
    """Return `mode` with the permissions that an access ACL gives; the mask stands for the group."""
    found = {entry.tag: entry.permissions & 7 for entry in unpack(value)}
    if not {USER_OBJ, GROUP_OBJ, OTHER} <= found.keys():
        raise OSError(EINVAL, "ACL")
    group = found.get(MASK, found[GROUP_OBJ])
    return mode & ~0o777 | found[USER_OBJ] << 6 | group << 3 | found[OTHER]


def with_mode(value: bytes, mode: int) -> bytes:
    """Return an access ACL after chmod to `mode`."""
    entries = unpack(value)
    group_tag = MASK if any(entry.tag == MASK for entry in entries) else GROUP_OBJ
    new = {USER_OBJ: mode >> 6 & 7, group_tag: mode >> 3 & 7, OTHER: mode & 7}
    return pack([e._replace(permissions=new.get(e.tag, e.permissions)) for e in entries])


def inherit(default: bytes, mode: int) -> tuple[int, dict[bytes, bytes]]:
    """Return the mode and the ACLs of what is made with `mode` in a directory with a default ACL."""
    entries = unpack(default)
    has_mask = any(entry.tag == MASK for entry in entries)
    kept = {
        USER_OBJ: mode >> 6 & 7,
        MASK if has_mask else GROUP_OBJ: mode >> 3 & 7,
        OTHER: mode & 7,
    }
    access = pack([e._replace(permissions=e.permissions & kept.get(e.tag, 7)) for e in entries])
    acls = {} if is_plain(access) else {ACCESS: access}
    if stat.S_ISDIR(mode):
        acls[DEFAULT] = default
    return mode_of(access, mode), acls
