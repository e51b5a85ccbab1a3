"""Reading a file's bytes as they are now, or as they were when a save began or a snapshot was made."""

import stat
from errno import EINVAL, EISDIR

from fossil_fs.overlay.base import Part, zeros
from fossil_fs.overlay.layers import BASE, ZEROS, Segment, segments
from fossil_fs.overlay.tree import Tree
from fossil_fs.scratch import records
from fossil_fs.scratch.records import INLINE, Inode
from fossil_fs.scratch.scratch import Records


async def read(tree: Tree, ino: int, offset: int, size: int) -> list[Part]:
    """Return at most `size` bytes from `offset` on, in parts that are not joined."""
    record = tree.record(ino)
    if record is None:
        node = tree.node(ino)
        _need_file(node.mode)
        size = min(size, node.size - offset)
        if size <= 0:
            return []
        if node.content is None:
            return zeros(size)
        return await tree.base.read(node.content, offset, size)
    _need_file(record.mode)
    size = min(size, record.size - offset)
    if size <= 0:
        return []
    return await read_record(tree, tree.state, ino, record, offset, size)


def _need_file(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise OSError(EISDIR, "directory")
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        raise OSError(EINVAL, "not a regular file")


def where(tree: Tree, record: Inode, start: int, end: int) -> list[Segment]:
    """Return where bytes of a file with a record, not inline, come from."""
    entry = tree.unpack(record.content)
    base_size = entry.size if entry is not None else 0
    return segments(tree.files, record.layers, base_size, start, end)


async def read_record(
    tree: Tree, state: Records, ino: int, record: Inode, offset: int, size: int
) -> list[Part]:
    """Return exactly `size` bytes of a file as `record` of `state` has it."""
    if record.flags & INLINE:
        content = (state.get(records.content_key(ino)) or b"")[offset : offset + size]
        return [content, *zeros(size - len(content))]
    files = tree.files
    plan = where(tree, record, offset, offset + size)
    # layers are read before anything is waited for: a layer may be dropped or written meanwhile
    parts: list[list[Part]] = []
    for first, last, source in plan:
        if source >= 0:
            parts.append([files.read(source, first, last - first)])
        else:
            parts.append(zeros(last - first) if source == ZEROS else [])
    entry = tree.unpack(record.content)
    for position, (first, last, source) in enumerate(plan):
        if source == BASE and entry is not None:
            parts[position] = await tree.base.read(entry, first, last - first)
    return [part for some in parts for part in some]


async def read_link(tree: Tree, ino: int) -> bytes:
    """Return the target of a symlink."""
    if not stat.S_ISLNK(tree.mode(ino)):
        raise OSError(EINVAL, "not a symlink")
    record = tree.record(ino)
    if record is not None and not record.content:
        return tree.state.get(records.content_key(ino)) or b""
    size = record.size if record is not None else tree.node(ino).size
    target = b"".join(await read(tree, ino, 0, size))
    return target.partition(b"\0")[0]  # vac on Linux pads some with zeros
