"""A file's Node as a directory keeps it: a DirEntry, and entries in slots of the source; and back.

Slots, in this order: a file has its content; a directory its source and its meta stream; either
one more when its extended attributes are in a stream. A name of an inode with several names
(native trees) has no slot: it says type, qid and the number in the root's links.
"""

import os
import re
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fossil_fs.format.direntry import (
    MAGIC,
    SECTION_EXTRA,
    SECTION_QID_SPACE,
    VERSION,
    DirEntry,
    pack_direntry,
    unpack_direntry,
)
from fossil_fs.format.mode import DIR, LINK, TYPE_BITS, to_linux, to_stored
from fossil_fs.format.names import show_name
from fossil_fs.format.section import SECOND, Extra, pack_extra, unpack_extra
from fossil_fs.node import NO_OWNERS, Node, Owners
from venti_store.errors import BadTree
from venti_store.hashtree.entry import Entry
from venti_store.score import Buffer, Family

_ERA: Final = 1 << 32
_QID_MASK: Final = (1 << 64) - 1
_NO_EXTRA: Final = Extra()
MAJOR_MAX: Final = 0xFFF  # what the kernel's dev_t has room for
MINOR_MAX: Final = 0xFFFFF
_DEVICE = re.compile(rb"([bc]) (\d{1,10}) (\d{1,10})\0*", re.ASCII)
DEVICE_TEXT_MAX: Final = 32  # bytes in the content of a classic device file


def is_native(family: Family) -> bool:
    """Tell whether trees of this family are ours alone, not Plan 9's."""
    return family.size != 20


@dataclass(frozen=True, slots=True)
class Record:
    """A name's record as read; `extra` is None in archives that are not ours.

    `slots` are the (slot, generation) pairs of the source that it needs; generation None: any.
    """

    entry: DirEntry
    extra: Extra | None
    mode: int  # st_mode
    slots: tuple[tuple[int, int | None], ...]


def unpack_record(data: Buffer) -> Record:
    """Return the record in `data`; BadTree where it makes no sense."""
    return make_record(unpack_direntry(data))


def make_record(entry: DirEntry) -> Record:
    """Return what `entry` says, its section 0x55 unpacked; BadTree where it makes no sense."""
    section = entry.section(SECTION_EXTRA)
    extra = unpack_extra(section) if section is not None else None
    mode = to_linux(entry.mode)
    if extra is not None and extra.link is not None:
        return Record(entry, extra, mode, ())
    has_gen = entry.version >= 9
    slots: tuple[tuple[int, int | None], ...] = ((entry.entry, entry.gen if has_gen else None),)
    if stat.S_ISDIR(mode):
        slots += ((entry.mentry, entry.mgen if has_gen else None),)
    if extra is not None and extra.xattr_slot is not None:
        slots += ((extra.xattr_slot, None),)
    return Record(entry, extra, mode, slots)


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
    family: Family,
    name: bytes,
    node: Node,
    slot: int,
    *,
    nlink: int | None = None,
    saved: int | None = None,
) -> bytes:
    """Return the record of `node` itself, under `name`, whatever its links."""
    kind = node.mode & _TYPE
    unusual = node.xattrs, node.xattr_stream, node.qid_offset, nlink, saved
    if unusual != _USUAL or kind not in _PLAIN_TYPES or not is_native(family):
        return _pack_any(family, name, node, slot, nlink, saved)
    seconds, nanoseconds = divmod(node.mtime_ns, SECOND)
    era, mtime = divmod(seconds, _ERA)
    second, stored = slot + 1 if kind == stat.S_IFDIR else 0, to_stored(node.mode)
    head = _PLAIN_HEAD.pack(MAGIC, VERSION, len(name))
    # fmt: off
    return head + name + _PLAIN_ALL.pack(
        slot, 0, second, 0, node.qid, mtime, 0, mtime, mtime, stored,
        *_PLAIN_HEADS[1:3], node.uid, node.gid, _PLAIN_HEADS[3], nanoseconds, era,
    )
    # fmt: on


def _pack_any(
    family: Family, name: bytes, node: Node, slot: int, nlink: int | None, saved: int | None
) -> bytes:
    """Return any record; `pack_inode` is a short way to the same bytes for those of most files."""
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
        saved=saved,
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
    entry, extra, mode = record.entry, record.extra or _NO_EXTRA, record.mode
    if extra.link is not None:
        return Node(mode, qid=entry.qid + qid_offset, link=extra.link)
    is_dir, is_device = stat.S_ISDIR(mode), stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
    streams = _check_entries(record, entries, is_dir)
    uid, gid = extra.owner or (owners.uid(entry.uid), owners.gid(entry.gid))
    nanoseconds, era = extra.time or (0, 0)
    content: Entry | None = streams[0]
    size = streams[0].size if stat.S_ISREG(mode) or stat.S_ISLNK(mode) else 0
    if not (is_dir or size or (is_device and extra.device is None and streams[0].size)):
        content = None
    return Node(
        mode,
        uid,
        gid,
        (entry.mtime + era * _ERA) * SECOND + nanoseconds,
        (entry.qid + qid_offset) & _QID_MASK,
        size,
        _rdev(*extra.device) if is_device and extra.device is not None else 0,
        content,
        streams[1] if is_dir else None,
        extra.xattrs,
        streams[-1] if extra.xattr_slot is not None else None,
        None,
        extra.nlink or 1,
        _owner(entry.uid, uid),
        _owner(entry.gid, gid),
        entry.qid_offset if is_dir else 0,
    )


def _owner(name: bytes, number: int) -> bytes:
    """Return a stored owner's name, b"" where it is only the number's digits."""
    return b"" if not name or name == b"%d" % number else name


def _check_entries(record: Record, entries: Sequence[Entry | None], is_dir: bool) -> list[Entry]:
    streams = []
    directory = is_dir  # of the first slot alone
    for (slot, gen), entry in zip(record.slots, entries, strict=True):
        if entry is None:
            raise BadTree(f"nothing in slot {slot}")
        if gen is not None and entry.gen != gen:
            raise BadTree(f"slot {slot} is of generation {entry.gen}, not {gen}: file removed")
        if entry.directory != directory:
            raise BadTree(f"slot {slot} {'is' if entry.directory else 'is not'} a directory")
        directory = False
        streams.append(entry)
    return streams


_MOVE = struct.Struct(">IIII")  # entry, gen, mentry, mgen: they stand right behind the name
_PLAIN = struct.Struct(">IIIIQ6s16xI3s4s8s3s8s")  # what else a plain native record has
_PLAIN_HEADS = (bytes(6), b"\x55\0\x17", b"\1\1\0\x08", b"\2\0\x08")
_PLAIN_MODES = frozenset((0, LINK, DIR))
_PLAIN_HEAD = struct.Struct(">IHH")  # magic, version, length of the name
_PLAIN_ALL = struct.Struct(">IIIIQ6xIIIII3s4sII3sIi")  # all that follows the name
_PLAIN_TYPES = frozenset((stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR))
_USUAL = ((), None, 0, None, None)
_TYPE = 0o170000  # what stat.S_IFMT takes of a mode


def move_record(data: bytes, name: bytes, slot: int) -> tuple[bytes, int, int] | None:
    """Return a plain native record with its slots from `slot` on, their number, and the first before.

    Plain: written here, no extended attributes, device or link. None for any other, which has to be
    unpacked and packed again; the result is the same.
    """
    at = 8 + len(name)
    if len(data) != at + _PLAIN.size:
        return None
    entry, gen, mentry, mgen, _, names, mode, *rest = _PLAIN.unpack_from(data, at)
    is_dir = bool(mode & DIR)
    heads = (names, rest[0], rest[1], rest[3])
    if (
        heads != _PLAIN_HEADS
        or gen
        or mgen
        or mode & TYPE_BITS not in _PLAIN_MODES
        or mentry != (entry + 1 if is_dir else 0)
        or data[4:6] != b"\0\x09"
    ):
        return None
    moved = _MOVE.pack(slot, 0, slot + 1 if is_dir else 0, 0)
    return data[:at] + moved + data[at + _MOVE.size :], 1 + is_dir, entry


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
