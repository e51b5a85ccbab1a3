"""One host file's bytes into a hash tree: small files in one step, large and sparse ones streamed."""

import errno
import os
from collections.abc import Iterator
from typing import Final

from fossil_fs.ingest.scan import is_sparse
from fossil_fs.record import stream_sizes
from venti_store.hashtree.build import TreeBuilder, build_tree
from venti_store.hashtree.entry import Entry
from venti_store.interfaces import BlockSink

READ_BYTES: Final = 1 << 20  # one read(2) of a large file


def store_bytes(sink: BlockSink, data: bytes, dsize: int) -> Entry:
    """Store what is small enough to be in memory."""
    return build_tree(sink, data, dsize=dsize, psize=stream_sizes(sink.family)[0])


def store_file(sink: BlockSink, fd: int, state: os.stat_result, dsize: int) -> Entry:
    """Store what the open file holds, at most the size that `state` says; holes are not read."""
    size = state.st_size
    if size <= dsize:
        return store_bytes(sink, _read_exactly(fd, size, 0), dsize)
    builder = TreeBuilder(sink, dsize=dsize, psize=stream_sizes(sink.family)[0])
    position = 0
    for start, end in _data_ranges(fd, state, dsize):
        builder.skip(start - position)
        position = _copy(builder, fd, start, end, dsize)
        if position < end:
            break  # the file became shorter, which the caller notices
    else:
        builder.skip(size - position)
    return builder.finish()


def _copy(builder: TreeBuilder, fd: int, start: int, end: int, dsize: int) -> int:
    """Store the bytes from `start` (a block's start) to `end`; return where they ended."""
    step = max(READ_BYTES // dsize, 1) * dsize
    position = start
    while position < end:
        data = _read_exactly(fd, min(step, end - position), position)
        if not data:
            break
        builder.write(data)
        position += len(data)
    return position


def _read_exactly(fd: int, size: int, offset: int) -> bytes:
    """Read `size` bytes, fewer only where the file ends."""
    data = os.pread(fd, size, offset)
    while len(data) < size and (more := os.pread(fd, size - len(data), offset + len(data))):
        data += more
    return data


def _data_ranges(fd: int, state: os.stat_result, dsize: int) -> Iterator[tuple[int, int]]:
    """Yield where the file has data, widened to whole blocks, ascending, not overlapping."""
    size = state.st_size
    if not is_sparse(state):
        yield 0, size
        return
    position = 0
    while position < size:
        try:
            data = os.lseek(fd, position, os.SEEK_DATA)
            hole = os.lseek(fd, data, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole from here on
                return
            if error.errno == errno.EINVAL:  # this file system does not tell
                yield position, size
                return
            raise
        start = max(data // dsize * dsize, position)
        end = min(-(-hole // dsize) * dsize, size)
        if start < end:
            yield start, end
        position = max(end, position + 1)
