"""Extended attributes: the base's as they are, changed ones as a record each."""

from collections.abc import Sequence
from errno import E2BIG, EEXIST, EINVAL, ENODATA, ENOSPC, ERANGE

from fossil_fs.format.xattrs import STREAM_MAX, Xattrs, packed_size
from fossil_fs.overlay import acl
from fossil_fs.overlay.core import RECORD_ROOM, Change, Overlay
from fossil_fs.overlay.tree import Tree
from fossil_fs.scratch import records
from fossil_fs.scratch.journal import delete, put
from fossil_fs.scratch.records import XATTRS_HERE, Inode
from fossil_fs.scratch.scratch import Records

CREATE, REPLACE = 1, 2
NAME_MAX = 255
VALUE_MAX = 64 << 10
SIZES_MAX = 1024  # inodes whose attributes' total size is remembered


class ExtendedAttributes:
    """The extended attributes of inodes in the table."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self._sizes: dict[int, int] = {}  # packed bytes of inodes whose attributes are here

    async def get(self, ino: int, name: bytes) -> bytes:
        return await xattr(self._overlay, ino, name)

    async def names(self, ino: int) -> Sequence[bytes]:
        return await xattr_names(self._overlay, ino)

    async def set(self, ino: int, name: bytes, value: bytes, flags: int) -> None:
        """Set one; `flags`: CREATE, REPLACE."""
        if not name or len(name) > NAME_MAX:
            raise OSError(ERANGE, "name")
        if len(value) > VALUE_MAX:
            raise OSError(E2BIG, "value")
        await self._take_here(ino)
        overlay = self._overlay
        key = records.xattr_key(ino, name)
        old = overlay.scratch.get(key)
        if flags & ~(CREATE | REPLACE):
            raise OSError(EINVAL, "flags")
        if flags & CREATE and old is not None:
            raise OSError(EEXIST, "attribute")
        if flags & REPLACE and old is None:
            raise OSError(ENODATA, "attribute")
        before = 0 if old is None else packed_size(name, old)
        size = self._size(ino) - before + packed_size(name, value)
        if size > STREAM_MAX:
            raise OSError(ENOSPC, "attributes")
        overlay.scratch.admit(RECORD_ROOM + len(value), inline=True)
        self._sizes.pop(ino, None)
        change = Change(overlay)
        inode = change.inode(ino)
        op = put(key, value)
        if name == acl.ACCESS:
            mode = acl.mode_of(value, inode.mode)
            inode = inode._replace(mode=mode)
            if acl.is_plain(value):
                op = delete(key)  # it says no more than the mode does
        change.ops.append(op)
        change.set(ino, inode._replace(ctime_ns=change.now))
        change.apply()
        if name != acl.ACCESS:
            self._sizes[ino] = size

    def _size(self, ino: int) -> int:
        """Return how many bytes the attributes of an inode, all here, take in the tree."""
        size = self._sizes.get(ino)
        if size is None:
            found = self._overlay.scratch.scan(records.xattr_key(ino, b""))
            size = sum(packed_size(name, value) for name, value in found)
        if len(self._sizes) >= SIZES_MAX:
            self._sizes.clear()
        return size

    async def remove(self, ino: int, name: bytes) -> None:
        await self._take_here(ino)
        overlay = self._overlay
        key = records.xattr_key(ino, name)
        if overlay.scratch.get(key) is None:
            if name in (acl.ACCESS, acl.DEFAULT):
                return  # an ACL that says nothing beyond the mode is there all the same
            raise OSError(ENODATA, "attribute")
        self._sizes.pop(ino, None)
        change = Change(overlay)
        change.set(ino, change.inode(ino)._replace(ctime_ns=change.now))
        change.ops.append(delete(key))
        change.apply()

    async def default_acl(self, directory: int) -> bytes | None:
        """Return the ACL that files made in a directory inherit from."""
        return await xattr_maybe(self._overlay, directory, acl.DEFAULT)

    async def follow_mode(self, ino: int) -> None:
        """Let the access ACL, if there is one, say what the mode says now."""
        old = await xattr_maybe(self._overlay, ino, acl.ACCESS)
        if old is None:
            return
        new = acl.with_mode(old, self._overlay.mode(ino))
        if new != old:
            await self.set(ino, acl.ACCESS, new, REPLACE)

    async def _take_here(self, ino: int) -> None:
        """Take all attributes of an inode into the scratch, where each can be changed alone."""
        overlay = self._overlay
        while not overlay.inode(ino).flags & XATTRS_HERE:
            seen = overlay.inode(ino)
            xattrs = await _of_base(overlay, ino)
            if overlay.inode(ino) != seen:
                continue
            self._sizes.pop(ino, None)
            change = Change(overlay)
            inode = change.inode(ino)
            change.ops += [put(records.xattr_key(ino, name), value) for name, value in xattrs]
            flags = inode.flags | XATTRS_HERE
            change.set(ino, inode._replace(flags=flags, xattr_stream=b""))
            change.apply()


async def xattr(tree: Tree, ino: int, name: bytes) -> bytes:
    """Return one extended attribute of an inode in the table; ENODATA."""
    value = await xattr_maybe(tree, ino, name)
    if value is None:
        raise OSError(ENODATA, "attribute")
    return value


async def xattr_maybe(tree: Tree, ino: int, name: bytes) -> bytes | None:
    """Return one extended attribute of an inode in the table, None where there is none."""
    record = tree.record(ino)
    if record is not None and record.flags & XATTRS_HERE:
        return tree.state.get(records.xattr_key(ino, name))
    return dict(await _of_base(tree, ino)).get(name)


async def xattr_names(tree: Tree, ino: int) -> Sequence[bytes]:
    """Return the names of an inode's extended attributes."""
    record = tree.record(ino)
    if record is not None and record.flags & XATTRS_HERE:
        return [name for name, _ in tree.state.scan(records.xattr_key(ino, b""))]
    return [name for name, _ in await _of_base(tree, ino)]


async def _of_base(tree: Tree, ino: int) -> Xattrs:
    record = tree.record(ino)
    if record is not None:
        return await all_xattrs(tree, tree.state, ino, record)
    node = tree.node(ino)
    if node.xattr_stream is not None:
        return await tree.base.xattrs(node.xattr_stream)
    return node.xattrs


async def all_xattrs(tree: Tree, state: Records, ino: int, record: Inode) -> Xattrs:
    """Return the extended attributes of an inode as `record` of `state` has them."""
    if record.flags & XATTRS_HERE:
        return tuple(state.scan(records.xattr_key(ino, b"")))
    entry = tree.unpack(record.xattr_stream)
    return await tree.base.xattrs(entry) if entry is not None else ()
