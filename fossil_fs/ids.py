"""Ids as they are stored, and as they are seen by those whose numbers begin elsewhere. Pure.

Inside, in what is stored, users and groups count from 0; to the kernel they are those from `base` on.
Attributes that hold ids are translated too: ACLs and the owner of file capabilities.

Source: the kernel's posix_acl_xattr.h, and vfs_cap_data and vfs_ns_cap_data of capability.h.
"""

import struct
from dataclasses import dataclass
from errno import EOVERFLOW
from typing import Final

NOBODY: Final = 65534  # who has no number outside
ACLS: Final = (b"system.posix_acl_access", b"system.posix_acl_default")
CAPABILITY: Final = b"security.capability"
_VERSION: Final = struct.Struct("<I")
_ENTRY: Final = struct.Struct("<HHI")
_WITH_ID: Final = (0x02, 0x08)  # ACL_USER, ACL_GROUP
_CAPABILITY_2, _CAPABILITY_3 = 0x02000000, 0x03000000
_REVISION: Final = 0xFF000000
_SIZE_2, _SIZE_3 = 20, 24


@dataclass(frozen=True, slots=True)
class Shift:
    """`count` ids from `base` on are those from 0 on inside."""

    base: int
    count: int

    def out(self, number: int) -> int:
        """Return a stored id as the kernel is told it."""
        return self.base + number if number < self.count else NOBODY

    def into(self, number: int) -> int:
        """Return an id of the kernel's as it is stored; OSError EOVERFLOW if it cannot be."""
        if not self.base <= number < self.base + self.count:
            raise OSError(EOVERFLOW, "an id that has no number here")
        return number - self.base

    def value_out(self, name: bytes, value: bytes) -> bytes:
        """Return an extended attribute as the kernel is given it."""
        if name in ACLS:
            return self._acl(value, inwards=False)
        if name == CAPABILITY and len(value) in (_SIZE_2, _SIZE_3):
            return self._capability_out(value)
        return value

    def value_into(self, name: bytes, value: bytes) -> bytes:
        """Return an extended attribute as it is stored; OSError EOVERFLOW."""
        if name in ACLS:
            return self._acl(value, inwards=True)
        if name == CAPABILITY and len(value) == _SIZE_3:
            owner = self.into(_VERSION.unpack_from(value, _SIZE_2)[0])
            return self._plain(value) if owner == 0 else value[:_SIZE_2] + _VERSION.pack(owner)
        return value

    def _acl(self, value: bytes, *, inwards: bool) -> bytes:
        if len(value) < _VERSION.size or (len(value) - _VERSION.size) % _ENTRY.size:
            return value
        parts = [value[: _VERSION.size]]
        for tag, mode, number in _ENTRY.iter_unpack(value[_VERSION.size :]):
            if tag in _WITH_ID:
                number = self.into(number) if inwards else self.out(number)  # noqa: PLW2901
            parts.append(_ENTRY.pack(tag, mode, number))
        return b"".join(parts)

    def _capability_out(self, value: bytes) -> bytes:
        owner = _VERSION.unpack_from(value, _SIZE_2)[0] if len(value) == _SIZE_3 else 0
        return self._magic(value, _CAPABILITY_3) + _VERSION.pack(self.out(owner))

    def _plain(self, value: bytes) -> bytes:
        """Return capabilities of the owner 0, which need not be named."""
        return self._magic(value, _CAPABILITY_2)

    def _magic(self, value: bytes, version: int) -> bytes:
        flags = _VERSION.unpack_from(value)[0] & ~_REVISION
        return _VERSION.pack(version | flags) + value[_VERSION.size : _SIZE_2]
