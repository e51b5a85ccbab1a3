"""What is small and beside a file's data: targets of symbolic links, extended attributes."""

from typing import Final

from fossil_fs.format.xattrs import INLINE_MAX, STREAM_MAX, Xattrs, pack_xattrs, unpack_xattrs
from fossil_fs.node import Node
from fossil_fs.record import stream_sizes
from venti_store.errors import BadTree
from venti_store.hashtree.build import build_tree
from venti_store.hashtree.entry import Entry
from venti_store.hashtree.read import read
from venti_store.interfaces import BlockReader, BlockSink

TARGET_MAX: Final = 4095  # bytes of a symbolic link's target, the kernel's limit


async def read_target(store: BlockReader, node: Node) -> bytes:
    """Return the target of a symbolic link, up to the first zero byte; b"" if it has none.

    vac on Linux stores eight bytes of a target and zeros for the rest. BadTree if it is too long;
    raises as the store does.
    """
    if node.content is None:
        return b""
    if node.content.size > TARGET_MAX:
        raise BadTree(f"symbolic link with a target of {node.content.size} bytes")
    target = await read(store, node.content, 0, TARGET_MAX)
    return target.partition(b"\0")[0]


async def read_xattrs(store: BlockReader, node: Node) -> Xattrs:
    """Return all extended attributes of `node`, in order of names; raises as the store, BadTree."""
    stream = node.xattr_stream
    if stream is None:
        return node.xattrs
    if stream.size > STREAM_MAX:
        raise BadTree(f"extended attributes of {stream.size} bytes")
    return unpack_xattrs(await read(store, stream, 0, STREAM_MAX))


def place_xattrs(sink: BlockSink, xattrs: Xattrs) -> tuple[Xattrs, Entry | None]:
    """Return what `Node.xattrs` and `Node.xattr_stream` are to be; a stream's blocks go to the sink.

    ValueError if they are more than STREAM_MAX.
    """
    packed = pack_xattrs(xattrs)
    if len(packed) <= INLINE_MAX:
        return tuple(sorted(xattrs)), None
    if len(packed) > STREAM_MAX:
        raise ValueError(f"extended attributes of {len(packed)} bytes")
    psize, dsize = stream_sizes(sink.family)
    return (), build_tree(sink, packed, dsize=dsize, psize=psize)
