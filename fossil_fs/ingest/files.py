"""Files of one directory, not directories themselves, into nodes: the work of a reading thread."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from fossil_fs.content import place_xattrs
from fossil_fs.format.xattrs import Xattrs
from fossil_fs.host_xattrs import beside, read_xattrs
from fossil_fs.ingest.content import store_bytes, store_file
from fossil_fs.ingest.report import why
from fossil_fs.ingest.scan import open_file, same_state
from fossil_fs.node import Node
from fossil_fs.qid import qid_of
from venti_store.errors import TreeTooLarge
from venti_store.hashtree.entry import Entry
from venti_store.interfaces import BlockSink

CHANGED: Final = "changed while it was read"
REPLACED: Final = "became something else while it was looked at"


@dataclass(slots=True)
class Chunk:
    """Some files of a directory, read; `troubles` are (name, why), `missing` names without a node."""

    nodes: list[tuple[bytes, Node]] = field(default_factory=list)
    troubles: list[tuple[bytes, str]] = field(default_factory=list)
    missing: list[bytes] = field(default_factory=list)


def read_chunk(
    sink: BlockSink, dir_fd: int, path: bytes, names: Sequence[bytes], dsize: int
) -> Chunk:
    """Read files of the directory `dir_fd`, which is `path` in the archive, into nodes."""
    chunk = Chunk()
    for name in names:
        qid = qid_of(path, name)
        try:
            state = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
            if stat.S_ISREG(state.st_mode):  # nothing else may be opened: a tape might rewind
                node, whole = _regular(sink, dir_fd, name, qid, dsize)
                if not whole:
                    chunk.troubles.append((name, CHANGED))
            else:
                node = _special(sink, dir_fd, name, state, qid, dsize)
        except (OSError, TreeTooLarge) as error:
            chunk.troubles.append((name, why(error)))
            chunk.missing.append(name)
        else:
            chunk.nodes.append((name, node))
    return chunk


def _regular(sink: BlockSink, dir_fd: int, name: bytes, qid: int, dsize: int) -> tuple[Node, bool]:
    """Return the node of a regular file and whether it was left alone meanwhile."""
    fd = open_file(name, dir_fd)
    try:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(None, REPLACED)
        xattrs = read_xattrs(fd)
        content = store_file(sink, fd, state, dsize)
        whole = same_state(state, os.fstat(fd)) and content.size == state.st_size
    finally:
        os.close(fd)
    return make_node(sink, state, qid, xattrs, content), whole


def _special(
    sink: BlockSink, dir_fd: int, name: bytes, state: os.stat_result, qid: int, dsize: int
) -> Node:
    content = None
    if stat.S_ISDIR(state.st_mode):
        raise OSError(None, REPLACED)
    if stat.S_ISLNK(state.st_mode):
        content = store_bytes(sink, os.readlink(name, dir_fd=dir_fd), dsize)
    return make_node(sink, state, qid, read_xattrs(beside(dir_fd, name)), content)


def make_node(
    sink: BlockSink,
    state: os.stat_result,
    qid: int,
    xattrs: Xattrs,
    content: Entry | None,
    meta: Entry | None = None,
) -> Node:
    """Return what the archive holds of an inode; large attributes go to a stream of their own."""
    stream = None
    if xattrs:
        xattrs, stream = place_xattrs(sink, xattrs)
    mode = state.st_mode
    return Node(
        mode=mode,
        uid=state.st_uid,
        gid=state.st_gid,
        mtime_ns=state.st_mtime_ns,
        qid=qid,
        size=0 if content is None or stat.S_ISDIR(mode) else content.size,
        rdev=state.st_rdev if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else 0,
        content=content if content is None or content.size or content.directory else None,
        meta=meta,
        xattrs=xattrs,
        xattr_stream=stream,
    )
