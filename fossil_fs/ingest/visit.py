"""One directory of the host on its way into the archive, from its listing to its node."""

import os
from concurrent.futures import Future
from dataclasses import dataclass, field

from blake3 import blake3

from fossil_fs.format.xattrs import Xattrs, pack_xattrs
from fossil_fs.ingest.files import Chunk
from fossil_fs.ingest.hardlinks import Inode
from fossil_fs.ingest.remember import Record, unpack_names
from fossil_fs.node import Node


@dataclass(slots=True, eq=False)
class Visit:
    """A directory: what is known of it and of the files in it, and what is still being found out.

    `signs` has the signatures of all files that are, or will be, in the archive; `nodes` those that
    were read in this run. `old` is the record of the last run, `old_signs` its files.
    """

    path: bytes  # in the archive, no slash in front
    shown: bytes  # as the user knows it
    qid: int
    state: os.stat_result | None = None
    made: Node | None = None  # of a directory that the host has not: its node without the streams
    xattrs: Xattrs = ()
    jobs: list["Future[Chunk]"] = field(default_factory=list)
    nodes: dict[bytes, Node] = field(default_factory=dict)
    signs: dict[bytes, bytes] = field(default_factory=dict)
    links: dict[bytes, Inode] = field(default_factory=dict)
    children: list[tuple[bytes, "Visit"]] = field(default_factory=list)
    old: Record | None = None
    old_signs: dict[bytes, bytes] = field(default_factory=dict)
    node: Node | None = None  # when it is in the archive

    def below(self, name: bytes) -> bytes:
        """Return the path in the archive of a name in this directory."""
        return b"%b/%b" % (self.path, name) if self.path else name

    def remember(self, old: Record | None) -> None:
        """Take what the last run knew of this directory."""
        self.old = old
        if old is not None:
            self.old_signs = dict(unpack_names(old.files))

    @property
    def ready(self) -> bool:
        """Tell whether all of its files were read."""
        return all(job.done() for job in self.jobs)

    @property
    def waits(self) -> bool:
        """Tell whether its node depends on the names of inodes that the rest of the tree may hold."""
        return bool(self.links) or any(child.node is None for _, child in self.children)


def digest(node: Node) -> bytes:
    """Return 16 bytes that are equal for equal nodes of directories."""
    content = node.content.score if node.content is not None else b""
    meta = node.meta.score if node.meta is not None else b""
    sizes = (
        node.content.size if node.content is not None else 0,
        node.meta.size if node.meta is not None else 0,
    )
    stream = node.xattr_stream.score if node.xattr_stream is not None else b""
    head = repr((node.mode, node.uid, node.gid, node.mtime_ns, node.qid, sizes))
    parts = (head.encode(), content, meta, stream, pack_xattrs(node.xattrs))
    return blake3(b"".join(parts)).digest(length=16)
