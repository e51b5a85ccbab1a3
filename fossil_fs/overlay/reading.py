"""Reading a file's bytes as they are now, or as they were when a save began."""

import stat
from errno import EINVAL, EISDIR

from fossil_fs.overlay.base import Part, zeros
from fossil_fs.overlay.core import Overlay
from fossil_fs.overlay.layers import BASE, ZEROS, Segment, segments
from fossil_fs.scratch import records
from fossil_fs.scratch.records import INLINE, Inode
from fossil_fs.scratch.scratch import Records


async def read(overlay: Overlay, ino: int, offset: int, size: int) -> list[Part]:
    """Return at most `size` bytes from `offset` on, in parts that are not joined."""
    record = overlay.record(ino)
    if record is None:
        node = overlay.node(ino)
        _need_file(node.mode)
        size = min(size, node.size - offset)
        if size <= 0:
            return []
        if node.content is None:
            return zeros(size)
        return await overlay.base.read(node.content, offset, size)
    _need_file(record.mode)
    size = min(size, record.size - offset)
    if size <= 0:
        return []
    return await read_record(overlay, overlay.scratch, ino, record, offset, size)


def _need_file(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise OSError(EISDIR, "directory")
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        raise OSError(EINVAL, "not a regular file")


def where(overlay: Overlay, record: Inode, start: int, end: int) -> list[Segment]:
    """Return where bytes of a file with a record, not inline, come from."""
    entry = overlay.unpack(record.content)
    base_size = entry.size if entry is not None else 0
    return segments(overlay.scratch.files, record.layers, base_size, start, end)


async def read_record(
    overlay: Overlay, state: Records, ino: int, record: Inode, offset: int, size: int
) -> list[Part]:
    """Return exactly `size` bytes of a file as `record` of `state` has it."""
    if record.flags & INLINE:
        content = (state.get(records.content_key(ino)) or b"")[offset : offset + size]
        return [content, *zeros(size - len(content))]
    files = overlay.scratch.files
    plan = where(overlay, record, offset, offset + size)
    # layers are read before anything is waited for: a layer may be dropped or written meanwhile
    parts: list[list[Part]] = []
    for first, last, source in plan:
        if source >= 0:
            parts.append([files.read(source, first, last - first)])
        else:
            parts.append(zeros(last - first) if source == ZEROS else [])
    entry = overlay.unpack(record.content)
    for position, (first, last, source) in enumerate(plan):
        if source == BASE and entry is not None:
            parts[position] = await overlay.base.read(entry, first, last - first)
    return [part for some in parts for part in some]


async def read_link(overlay: Overlay, ino: int) -> bytes:
    """Return the target of a symlink."""
    if not stat.S_ISLNK(overlay.mode(ino)):
        raise OSError(EINVAL, "not a symlink")
    record = overlay.record(ino)
    if record is not None and not record.content:
        return overlay.scratch.get(records.content_key(ino)) or b""
    size = record.size if record is not None else overlay.node(ino).size
    target = b"".join(await read(overlay, ino, 0, size))
    return target.partition(b"\0")[0]  # vac on Linux pads some with zeros
