"""What stat(2) says of an inode, and what chmod, chown and utimens change."""

import stat
from typing import Final

from fossil_fs.node import Node
from fossil_fs.overlay.core import Change, Overlay
from fossil_fs.overlay.table import Known
from fossil_fs.overlay.tree import Tree
from fossil_fs.scratch.records import NOT_COUNTED, Inode, with_times
from lib9.fuse.interface import Attributes, Caller, Changes

DIRECTORY_SIZE: Final = 4096  # what stat says of every directory: its true size is not known
SECTOR: Final = 512


def attributes(tree: Tree, ino: int) -> Attributes:
    """Return the attributes of an inode in the table; ESTALE."""
    record = tree.record(ino)
    if record is not None:
        return _of_record(tree, ino, record)
    known = tree.known(ino)
    return of_node(known, tree.node(ino))


def of_node(known: Known, node: Node) -> Attributes:
    """Return the attributes of an inode as the base has it."""
    time = node.mtime_ns
    size, nlink = node.size, 0 if known.gone else max(node.nlink, 1)
    if node.is_dir:
        size, nlink = DIRECTORY_SIZE, _directory_links(known.subdirs, known.gone)
    return Attributes(
        ino=known.ino,
        mode=node.mode,
        nlink=nlink,
        uid=node.uid,
        gid=node.gid,
        rdev=node.rdev,
        size=size,
        blocks=-(-size // SECTOR),
        atime_ns=time,
        mtime_ns=time,
        ctime_ns=time,
        btime_ns=time,
    )


def _directory_links(subdirs: int, gone: bool) -> int:
    """Return 2 and one for each subdirectory; 1 says that nobody counted, as on btrfs."""
    if gone:
        return 0
    return 1 if subdirs == NOT_COUNTED else 2 + subdirs


def _of_record(tree: Tree, ino: int, record: Inode) -> Attributes:
    size, nlink, rdev = record.size, record.nlink, record.rdev
    blocks = -(-size // SECTOR)
    if stat.S_ISDIR(record.mode):
        size, rdev, blocks = DIRECTORY_SIZE, 0, DIRECTORY_SIZE // SECTOR
        nlink = _directory_links(record.subdirs, record.nlink == 0)
    elif record.layers and not record.content:
        files = tree.files
        blocks = sum(files.allocated_of(layer.number) for layer in record.layers) // SECTOR
    return Attributes(
        ino=ino,
        mode=record.mode,
        nlink=nlink,
        uid=record.uid,
        gid=record.gid,
        rdev=rdev,
        size=size,
        blocks=blocks,
        atime_ns=record.atime_ns,
        mtime_ns=record.mtime_ns,
        ctime_ns=record.ctime_ns,
        btime_ns=record.btime_ns,
    )


def set_attributes(overlay: Overlay, ino: int, changes: Changes, who: Caller) -> None:
    """Change what `changes` says, but for the size. A change of owner takes away set-id bits."""
    change = Change(overlay)
    old = change.inode(ino)
    now = change.now
    mode = old.mode
    if changes.mode is not None:
        mode = stat.S_IFMT(old.mode) | stat.S_IMODE(changes.mode)
    elif (changes.uid, changes.gid) != (None, None) and who.uid != 0:
        mode = without_set_ids(old.mode)
    atime = now if changes.atime_now else changes.atime_ns
    mtime = now if changes.mtime_now else changes.mtime_ns
    old = with_times(
        old,
        old.mtime_ns if mtime is None else mtime,
        now if changes.ctime_ns is None else changes.ctime_ns,
    )
    if atime is not None:
        old = old._replace(atime_ns=atime)
    if mode != old.mode or changes.uid is not None or changes.gid is not None:
        uid = old.uid if changes.uid is None else changes.uid
        gid = old.gid if changes.gid is None else changes.gid
        old = old._replace(mode=mode, uid=uid, gid=gid)
    change.set(ino, old)
    change.apply()


def without_set_ids(mode: int) -> int:
    """Return a file's mode as a write or chown by another than root leaves it."""
    if not stat.S_ISREG(mode):
        return mode
    mode &= ~stat.S_ISUID
    return mode & ~stat.S_ISGID if mode & stat.S_IXGRP else mode
