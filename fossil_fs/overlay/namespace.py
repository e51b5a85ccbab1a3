"""Names: making, linking, moving and removing them.

Each function reads what it needs of the base, then looks again and changes without waiting. The
kernel lets one process at a time change a directory.
"""

import stat
from errno import (
    EEXIST,
    EINVAL,
    EISDIR,
    EMLINK,
    ENOENT,
    ENOTDIR,
    ENOTEMPTY,
    EPERM,
)
from typing import Final

from fossil_fs.overlay import acl
from fossil_fs.overlay.core import RECORD_ROOM, Change, Overlay
from fossil_fs.overlay.tree import Place
from fossil_fs.overlay.xattrs import ExtendedAttributes
from fossil_fs.record import is_native
from fossil_fs.scratch import records
from fossil_fs.scratch.journal import delete, put
from fossil_fs.scratch.records import (
    GONE,
    INLINE,
    LINK_IN_BASE,
    NOT_COUNTED,
    ROOT,
    XATTRS_HERE,
    Inode,
)
from lib9.faults import fault
from lib9.fuse.interface import Caller

NOREPLACE, EXCHANGE = 1, 2
LINKS_MAX: Final = 65_000  # names of one inode, as on ext4
TARGET_MAX: Final = 4095


class Namespace:
    """The changes of names; inode numbers in and out."""

    def __init__(self, overlay: Overlay, xattrs: ExtendedAttributes) -> None:
        self._overlay = overlay
        self._xattrs = xattrs

    async def make(self, parent: int, name: bytes, mode: int, who: Caller, *, rdev: int = 0) -> int:
        """Make a file, directory, device, fifo or socket; its kind is in `mode`."""
        return await self._make(Place(parent, name), mode, who, rdev, None)

    async def symlink(self, parent: int, name: bytes, target: bytes, who: Caller) -> int:
        if len(target) > TARGET_MAX:
            raise OSError(EINVAL, "target")
        return await self._make(Place(parent, name), stat.S_IFLNK | 0o777, who, 0, target)

    async def _make(
        self, place: Place, mode: int, who: Caller, rdev: int, target: bytes | None
    ) -> int:
        overlay = self._overlay
        if await overlay.find_maybe(*place) is not None:
            raise OSError(EEXIST, "name")
        default = await self._xattrs.default_acl(place.directory) if target is None else None
        overlay.check_new(place)
        self._check_directory(place.directory)
        overlay.scratch.admit(RECORD_ROOM + len(target or b""), inline=True)
        acls: dict[bytes, bytes] = {}
        if default is not None:
            mode, acls = acl.inherit(default, mode)
        elif target is None:
            mode &= ~who.umask
        change = Change(overlay)
        ino = overlay.fresh_number()
        parent = change.inode(place.directory)
        child = self._new(change, ino, parent, mode, who)._replace(
            rdev=rdev, size=len(target or b"")
        )
        change.set(ino, child)
        if target is not None:
            change.ops.append(put(records.content_key(ino), target))
        change.ops += [put(records.xattr_key(ino, key), value) for key, value in acls.items()]
        if stat.S_ISDIR(mode):
            _count_subdir(change, place.directory, 1)
        change.name(place, ino)
        change.touch(place.directory)
        change.apply()
        return ino

    def _new(self, change: Change, ino: int, parent: Inode, mode: int, who: Caller) -> Inode:
        gid = who.gid
        is_dir = stat.S_ISDIR(mode)
        if parent.mode & stat.S_ISGID:
            gid = parent.gid
            mode |= stat.S_ISGID if is_dir else 0
        now = change.now
        return Inode(
            version=0,
            mode=mode,
            uid=who.uid,
            gid=gid,
            rdev=0,
            nlink=1,
            size=0,
            atime_ns=now,
            mtime_ns=now,
            ctime_ns=now,
            btime_ns=now,
            qid=ino,
            link=-1,
            subdirs=0 if is_dir else NOT_COUNTED,
            flags=XATTRS_HERE | (0 if is_dir else INLINE),
            content=b"",
            meta=b"",
            xattr_stream=b"",
            layers=(),
        )

    def unnamed(self, parent: int, mode: int, who: Caller) -> int:
        """Make a file without a name; it goes when the kernel forgets it, unless it is linked."""
        overlay = self._overlay
        self._check_directory(parent)
        overlay.scratch.admit(RECORD_ROOM, inline=True)
        change = Change(overlay)
        ino = overlay.fresh_number()
        file = self._new(change, ino, overlay.inode(parent), mode, who)
        change.set(ino, file._replace(nlink=0))
        change.ops.append(put(records.orphan_key(ino), b""))
        change.apply()
        overlay.table.see(ino, parent, b"").gone = True
        return ino

    async def link(self, ino: int, parent: int, name: bytes) -> None:
        """Give an inode one more name."""
        overlay = self._overlay
        place = Place(parent, name)
        if await overlay.find_maybe(parent, name) is not None:
            raise OSError(EEXIST, "name")
        overlay.check_new(place)
        self._check_directory(parent)
        overlay.scratch.admit(RECORD_ROOM, inline=True)
        change = Change(overlay)
        inode = change.inode(ino)
        if stat.S_ISDIR(inode.mode):
            raise OSError(EPERM, "directory")
        if inode.nlink >= LINKS_MAX:
            raise OSError(EMLINK, "links")
        if inode.nlink == 0:
            change.ops.append(delete(records.orphan_key(ino)))
        elif inode.link < 0 and is_native(overlay.family):
            inode = inode._replace(link=ino, qid=ino)
            change.ops.append(put(records.link_key(ino), records.pack_number(ino)))
        change.set(ino, inode._replace(nlink=inode.nlink + 1, ctime_ns=change.now))
        change.name(place, ino)
        change.touch(parent)
        change.apply()
        known = overlay.table.get(ino)
        if known is not None:
            known.gone = False

    async def unlink(self, parent: int, name: bytes) -> None:
        overlay = self._overlay
        ino = await overlay.find(parent, name)
        if stat.S_ISDIR(overlay.mode(ino)):
            raise OSError(EISDIR, "directory")
        await self._remove(Place(parent, name), ino)

    async def rmdir(self, parent: int, name: bytes) -> None:
        overlay = self._overlay
        if name in (b".", b".."):
            raise OSError(EINVAL if name == b"." else ENOTEMPTY, "name")
        ino = await overlay.find(parent, name)
        if not stat.S_ISDIR(overlay.mode(ino)):
            raise OSError(ENOTDIR, "not a directory")
        if not await self._is_empty(ino):
            raise OSError(ENOTEMPTY, "directory")
        await self._remove(Place(parent, name), ino)

    async def _remove(self, place: Place, ino: int) -> None:
        """Remove a name that leads to `ino`."""
        replacement = await self._without(place)
        change = Change(self._overlay)
        self._drop_name(change, place, ino)
        change.name(place, replacement)
        change.touch(place.directory)
        change.apply()
        self._overlay.note_gone(ino)

    async def _without(self, place: Place) -> int | None:
        """Return what a removed name must lead to: GONE if the base has it, else nothing at all."""
        overlay = self._overlay
        while True:
            if overlay.streams(place.directory) is None:
                return None
            has, streams = await overlay.base_has(*place)
            if overlay.streams(place.directory) == streams:
                return GONE if has else None

    def _drop_name(self, change: Change, place: Place, ino: int) -> None:
        """Take one name off an inode; without any left it goes, or stays until it is forgotten."""
        overlay = self._overlay
        known = overlay.known(ino)
        record = overlay.record(ino)
        is_dir = stat.S_ISDIR(overlay.mode(ino))
        if is_dir:
            _count_subdir(change, place.directory, -1)
        if record is None and (is_dir or overlay.node(ino).link is None):
            return  # nothing of it is in the scratch, and nothing needs to be
        inode = change.inode(ino)
        nlink = 0 if is_dir else inode.nlink - 1
        change.set(ino, inode._replace(nlink=nlink, ctime_ns=change.now))
        if nlink:
            return
        if inode.flags & LINK_IN_BASE:
            change.ops.append(put(records.link_key(inode.link), records.pack_number(GONE)))
        elif inode.link >= 0:
            change.ops.append(delete(records.link_key(inode.link)))
        if known.held:
            change.ops.append(put(records.orphan_key(ino), b""))
        else:
            change.forget(ino)

    async def _is_empty(self, directory: int) -> bool:
        overlay = self._overlay
        changed = dict(overlay.scratch.children(directory))
        if any(changed.values()):
            return False
        streams = overlay.streams(directory)
        after, complete = b"", streams is None
        while streams is not None and not complete:
            found, complete = await overlay.base.entries(streams, after)
            if any(name not in changed for name, _ in found):
                return False
            after = found[-1][0] if found else after
        return True

    def _check_directory(self, directory: int) -> None:
        """Refuse to make names in what is no directory, or is one that was removed."""
        if not stat.S_ISDIR(self._overlay.mode(directory)):
            raise OSError(ENOTDIR, "not a directory")
        if self._overlay.is_gone(directory):
            raise OSError(ENOENT, "removed directory")

    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int
    ) -> None:
        """As renameat2(2) with flags NOREPLACE or EXCHANGE."""
        if flags & ~(NOREPLACE | EXCHANGE) or flags == NOREPLACE | EXCHANGE:
            raise OSError(EINVAL, "flags")
        overlay = self._overlay
        old, new = Place(parent, name), Place(new_parent, new_name)
        source = await overlay.find(*old)
        target = await overlay.find_maybe(*new)
        if flags & NOREPLACE and target is not None:
            raise OSError(EEXIST, "name")
        if flags & EXCHANGE and target is None:
            raise OSError(ENOENT, "name")
        if source == target:
            return
        self._check_directory(new_parent)
        self._check_no_loop(source, new_parent)
        if flags & EXCHANGE and target is not None:
            self._check_no_loop(target, parent)
            self._exchange(old, source, new, target)
            return
        if target is not None:
            await self._check_replaceable(source, target)
        replacement = await self._without(old)
        self._move(old, source, new, target, replacement)

    async def _check_replaceable(self, source: int, target: int) -> None:
        overlay = self._overlay
        if stat.S_ISDIR(overlay.mode(target)):
            if not stat.S_ISDIR(overlay.mode(source)):
                raise OSError(EISDIR, "directory")
            if not await self._is_empty(target):
                raise OSError(ENOTEMPTY, "directory")
        elif stat.S_ISDIR(overlay.mode(source)):
            raise OSError(ENOTDIR, "not a directory")

    def _check_no_loop(self, moved: int, directory: int) -> None:
        """Refuse to move a directory below itself."""
        table = self._overlay.table
        while directory != ROOT:
            if directory == moved:
                raise OSError(EINVAL, "below itself")
            known = table.get(directory)
            if known is None:
                return
            directory = known.parent
        if moved == ROOT:
            raise OSError(EINVAL, "below itself")

    def _move(
        self, old: Place, source: int, new: Place, target: int | None, replacement: int | None
    ) -> None:
        overlay = self._overlay
        change = Change(overlay)
        if target is None:
            overlay.check_new(new)
        else:
            self._drop_name(change, new, target)
        _carry(change, source, old, new)
        _give_names(change, (old, replacement), (new, source))
        fault("rename.applied")
        if target is not None:
            overlay.note_gone(target)

    def _exchange(self, old: Place, source: int, new: Place, target: int) -> None:
        change = Change(self._overlay)
        _carry(change, source, old, new)
        _carry(change, target, new, old)
        _give_names(change, (old, target), (new, source))

    def forget(self, ino: int) -> None:
        """The kernel dropped an inode: if it has no name, nothing of it is kept."""
        overlay = self._overlay
        record = overlay.record(ino)
        if record is not None and record.nlink == 0:
            change = Change(overlay)
            change.forget(ino)
            change.apply()


def _count_subdir(change: Change, directory: int, by: int) -> None:
    inode = change.inode(directory)
    if inode.subdirs != NOT_COUNTED:
        change.set(directory, inode._replace(subdirs=max(0, inode.subdirs + by)))


def _carry(change: Change, ino: int, old: Place, new: Place) -> None:
    """Let an inode have moved, and the directories count it if it is one itself."""
    inode = change.inode(ino)
    change.set(ino, inode._replace(ctime_ns=change.now))
    if stat.S_ISDIR(inode.mode):
        _count_subdir(change, old.directory, -1)
        _count_subdir(change, new.directory, 1)


def _give_names(change: Change, *given: tuple[Place, int | None]) -> None:
    """Let names mean these inodes, None: nothing any more, and apply the change."""
    for place, ino in given:
        change.name(place, ino)
    for place, _ in given:
        change.touch(place.directory)
    change.apply()
