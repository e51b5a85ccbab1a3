"""What the process that scans and those that read say to each other, over a stream socket.

A message is its length, u32, and a marshalled value; a request to read carries the descriptor of
the directory. Nodes travel as plain tuples, which marshal ten times as fast as objects pickle.
"""

import marshal
import os
import socket
import struct
from typing import Any, Final

from fossil_fs.ingest.files import Chunk
from fossil_fs.node import Node
from venti_store.hashtree.entry import Entry
from venti_store.score import Score

READ: Final = 1  # (READ, path, names) with a descriptor → (READ, nodes, troubles, missing)
SYNC: Final = 2  # (SYNC,) → (SYNC, counts of what was fed)
FAILED: Final = 3  # → (FAILED, pickled exception); the worker ends
START: Final = 4  # (START, address of the store, hash, dsize)

_LENGTH = struct.Struct("<I")

_FlatEntry = tuple[bytes, int, int, int, int] | None


def send(connection: socket.socket, message: tuple[Any, ...], fd: int | None = None) -> None:
    """Send one message, with a descriptor if there is one."""
    data = marshal.dumps(message)
    data = _LENGTH.pack(len(data)) + data
    if fd is not None:
        sent = socket.send_fds(connection, [data], [fd])
        data = data[sent:]
    connection.sendall(data)


def receive(connection: socket.socket) -> tuple[tuple[Any, ...], int | None] | None:
    """Return the next message and the descriptor that came with it; None at the end."""
    head, fds, _, _ = socket.recv_fds(connection, _LENGTH.size, 1)
    if not head:
        return None
    fd = fds[0] if fds else None
    try:
        head += _exactly(connection, _LENGTH.size - len(head))
        message: tuple[Any, ...] = marshal.loads(_exactly(connection, _LENGTH.unpack(head)[0]))
    except BaseException:
        if fd is not None:
            os.close(fd)
        raise
    return message, fd


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        count = connection.recv_into(view)
        if not count:
            raise EOFError("the other process has ended")
        view = view[count:]
    return bytes(data)


def flat_chunk(chunk: Chunk) -> tuple[Any, ...]:
    """Return a chunk as a message."""
    nodes = [(name, _flat_node(node)) for name, node in chunk.nodes]
    return READ, nodes, chunk.troubles, chunk.missing


def chunk_of(message: tuple[Any, ...]) -> Chunk:
    """Give back the chunk that `flat_chunk` was given."""
    _, nodes, troubles, missing = message
    return Chunk([(name, _node(*flat)) for name, flat in nodes], troubles, missing)


def _flat_node(node: Node) -> tuple[Any, ...]:
    return (
        node.mode,
        node.uid,
        node.gid,
        node.mtime_ns,
        node.qid,
        node.size,
        node.rdev,
        _flat_entry(node.content),
        node.xattrs,
        _flat_entry(node.xattr_stream),
    )


def _node(
    mode: int,
    uid: int,
    gid: int,
    mtime_ns: int,
    qid: int,
    size: int,
    rdev: int,
    content: _FlatEntry,
    xattrs: tuple[tuple[bytes, bytes], ...],
    stream: _FlatEntry,
) -> Node:
    return Node(
        mode,
        uid,
        gid,
        mtime_ns,
        qid,
        size,
        rdev,
        _entry(content),
        None,
        xattrs,
        _entry(stream),
    )


def _flat_entry(entry: Entry | None) -> _FlatEntry:
    if entry is None:
        return None
    return entry.score, entry.size, entry.psize, entry.dsize, entry.depth


def _entry(flat: _FlatEntry) -> Entry | None:
    if flat is None:
        return None
    score, size, psize, dsize, depth = flat
    return Entry(Score(score), size, psize, dsize, depth)
