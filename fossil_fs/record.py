"""A file's Node as a directory keeps it: a DirEntry, and entries in slots of the source; and back.

Slots, in this order: a file has its content; a directory its source and its meta stream; either
one more when its extended attributes are in a stream. A name of an inode with several names
(native trees) has no slot: it says type, qid and the number in the root's links.
"""

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fossil_fs.format.direntry import (
    SECTION_EXTRA,
    SECTION_QID_SPACE,
    DirEntry,
    pack_direntry,
    unpack_direntry,
)
from fossil_fs.format.mode import to_linux, to_stored
from fossil_fs.format.names import show_name
from fossil_fs.format.section import Extra, pack_extra, unpack_extra
from fossil_fs.node import NO_OWNERS, Node, Owners
from venti_store.errors import BadTree
from venti_store.hashtree.entry import Entry
from venti_store.score import Buffer, Family

SECOND: Final = 1_000_000_000
_ERA: Final = 1 << 32
MAJOR_MAX: Final = 0xFFF  # what the kernel's dev_t has room for
MINOR_MAX: Final = 0xFFFFF
_DEVICE = re.compile(rb"([bc]) (\d{1,10}) (\d{1,10})\0*", re.ASCII)
DEVICE_TEXT_MAX: Final = 32  # bytes in the content of a classic device file


def is_native(family: Family) -> bool:
    """Tell whether trees of this family are ours alone, not Plan 9's."""
    return family.size != 20


@dataclass(frozen=True, slots=True)
class Record:
    """A name's record as read; `extra` is None in archives that are not ours."""

    entry: DirEntry
    extra: Extra | None

    @property
    def link(self) -> int | None:
        return self.extra.link if self.extra is not None else None

    @property
    def slots(self) -> list[tuple[int, int | None]]:
        """The (slot, generation) pairs of the source that this record needs; None: any."""
        entry = self.entry
        if self.link is not None:
            return []
        slots: list[tuple[int, int | None]] = [
            (entry.entry, entry.gen if entry.version >= 9 else None)
        ]
        if stat.S_ISDIR(to_linux(entry.mode)):
            slots.append((entry.mentry, entry.mgen if entry.version >= 9 else None))
        if self.extra is not None and self.extra.xattr_slot is not None:
            slots.append((self.extra.xattr_slot, None))
        return slots


def unpack_record(data: Buffer) -> Record:
    """Return the record in `data`; BadTree where it makes no sense."""
    entry = unpack_direntry(data)
    section = entry.section(SECTION_EXTRA)
    return Record(entry, unpack_extra(section) if section is not None else None)


def empty_entry(family: Family, *, directory: bool = False) -> Entry:
    """Return the entry of a stream of no bytes, the same wherever one is written."""
    psize, dsize = stream_sizes(family)
    return Entry(family.nothing, 0, psize, dsize, 0, directory)


def stream_sizes(family: Family) -> tuple[int, int]:
    """Return the pointer and data block sizes of the streams that make a directory."""
    return 8192 // family.size * family.size, 8192


def slot_count(family: Family, node: Node) -> int:
    """Return how many slots of the source `node` takes when it is written in a directory."""
    if node.link is not None and is_native(family):
        return 0
    return 1 + node.is_dir + (node.xattr_stream is not None)


def to_entries(family: Family, node: Node) -> list[Entry]:
    """Return the entries for `node`'s slots, in order; a content of no bytes is the empty entry."""
    entries = []
    if node.is_dir:
        entries = [
            node.content or empty_entry(family, directory=True),
            node.meta or empty_entry(family),
        ]
    else:
        entries = [node.content if node.content and node.content.size else empty_entry(family)]
    if node.xattr_stream is not None:
        entries.append(node.xattr_stream)
    return entries


def pack_record(family: Family, name: bytes, node: Node, slot: int) -> bytes:
    """Return the record of a name whose slots begin at `slot`."""
    if node.link is not None and is_native(family):
        return pack_direntry(
            DirEntry(
                name,
                qid=node.qid,
                mode=to_stored(stat.S_IFMT(node.mode)),
                sections=((SECTION_EXTRA, pack_extra(Extra(link=node.link))),),
            )
        )
    return pack_inode(family, name, node, slot)


def pack_inode(
    family: Family, name: bytes, node: Node, slot: int, *, nlink: int | None = None
) -> bytes:
    """Return the record of `node` itself, under `name`, whatever its links."""
    seconds, nanoseconds = divmod(node.mtime_ns, SECOND)
    era, mtime = divmod(seconds, _ERA)
    xattr_slot = slot + 1 + node.is_dir if node.xattr_stream is not None else None
    is_device = stat.S_ISCHR(node.mode) or stat.S_ISBLK(node.mode)
    extra = Extra(
        owner=(node.uid, node.gid),
        time=(nanoseconds, era),
        device=(os.major(node.rdev), os.minor(node.rdev)) if is_device else None,
        xattrs=node.xattrs if xattr_slot is None else (),
        xattr_slot=xattr_slot,
        nlink=nlink,
    )
    sections = [(SECTION_EXTRA, pack_extra(extra))]
    if node.qid_offset:
        sections.insert(0, (SECTION_QID_SPACE, node.qid_offset.to_bytes(8, "big") + bytes(8)))
    names = (b"", b"")
    if not is_native(family):
        names = (node.owner or b"%d" % node.uid, node.group or b"%d" % node.gid)
    return pack_direntry(
        DirEntry(
            name,
            entry=slot,
            mentry=slot + 1 if node.is_dir else 0,
            qid=node.qid,
            uid=names[0],
            gid=names[1],
            mtime=mtime,
            ctime=mtime,
            atime=mtime,
            mode=to_stored(node.mode),
            sections=tuple(sections),
        )
    )


def to_node(
    record: Record, entries: Sequence[Entry | None], owners: Owners = NO_OWNERS, qid_offset: int = 0
) -> Node:
    """Return the Node of `record`, given the entries of its `slots` in that order.

    A name of a linked inode gives a stub: type, qid and `link`. BadTree if entries are missing,
    of another generation, or directories where the mode says otherwise.
    """
    entry, extra = record.entry, record.extra or Extra()
    mode = to_linux(entry.mode)
    if extra.link is not None:
        return Node(mode, qid=entry.qid + qid_offset, link=extra.link)
    streams = _check_entries(record, entries, stat.S_ISDIR(mode))
    uid, gid = extra.owner or (owners.uid(entry.uid), owners.gid(entry.gid))
    nanoseconds, era = extra.time or (0, 0)
    content, meta = streams[0], streams[1] if stat.S_ISDIR(mode) else None
    sized = stat.S_ISREG(mode) or stat.S_ISLNK(mode)
    is_device = stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
    keeps_content = content.size and (sized or (is_device and extra.device is None))
    return Node(
        mode,
        uid,
        gid,
        mtime_ns=(entry.mtime + era * _ERA) * SECOND + nanoseconds,
        qid=(entry.qid + qid_offset) & (2**64 - 1),
        size=content.size if sized else 0,
        rdev=_rdev(*extra.device) if is_device and extra.device is not None else 0,
        content=content if meta is not None or keeps_content else None,
        meta=meta,
        xattrs=extra.xattrs,
        xattr_stream=streams[-1] if extra.xattr_slot is not None else None,
        nlink=extra.nlink or 1,
        owner=b"" if entry.uid == b"%d" % uid else entry.uid,
        group=b"" if entry.gid == b"%d" % gid else entry.gid,
        qid_offset=entry.qid_offset if meta is not None else 0,
    )


def _check_entries(record: Record, entries: Sequence[Entry | None], is_dir: bool) -> list[Entry]:
    name = show_name(record.entry.elem)
    streams = []
    for position, ((slot, gen), entry) in enumerate(zip(record.slots, entries, strict=True)):
        if entry is None:
            raise BadTree(f"{name}: nothing in slot {slot}")
        if gen is not None and entry.gen != gen:
            raise BadTree(
                f"{name}: slot {slot} is of generation {entry.gen}, not {gen}: file removed"
            )
        if entry.directory != (is_dir and position == 0):
            raise BadTree(
                f"{name}: slot {slot} {'is' if entry.directory else 'is not'} a directory"
            )
        streams.append(entry)
    return streams


def device_text(node: Node) -> bytes:
    """Return a device file's content in classic trees: `c MAJOR MINOR` or `b MAJOR MINOR`."""
    letter = b"b" if stat.S_ISBLK(node.mode) else b"c"
    return b"%s %d %d" % (letter, os.major(node.rdev), os.minor(node.rdev))


def parse_device(text: bytes) -> tuple[int, int]:
    """Return (file type, st_rdev) for the content of a classic device file; else BadTree."""
    match = _DEVICE.fullmatch(text)
    if match is None:
        raise BadTree(f"not a device: {show_name(text)}")
    kind = stat.S_IFBLK if match[1] == b"b" else stat.S_IFCHR
    return kind, _rdev(int(match[2]), int(match[3]))


def _rdev(major: int, minor: int) -> int:
    if major > MAJOR_MAX or minor > MINOR_MAX:
        raise BadTree(f"not a device: {major} {minor}")
    return os.makedev(major, minor)
