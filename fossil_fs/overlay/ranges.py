"""Ranges of a file: reserving, punching holes, finding data and holes, copying."""

import stat
from errno import EFBIG, EINVAL, ENXIO, EOPNOTSUPP
from typing import Final

from fossil_fs.overlay.base import zeros
from fossil_fs.overlay.core import Change, Overlay
from fossil_fs.overlay.layers import BASE, ZEROS, Segment
from fossil_fs.overlay.reading import read, where
from fossil_fs.overlay.writing import FILE_SIZE_MAX, Writer
from fossil_fs.scratch.holes import PAGE
from fossil_fs.scratch.records import INLINE, INLINE_SIZE_MAX, Inode
from lib9.waiting import checkpoint

KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
SEEK_DATA, SEEK_HOLE = 3, 4
COPY_AT_ONCE: Final = 1 << 20
PUNCH_AT_ONCE: Final = 8 << 20  # bytes punched between two looks at what others do
SEEK_AT_ONCE: Final = 256 << 20  # bytes whose map is looked at together


class Ranges:
    """What fallocate(2), lseek(2) and copy_file_range(2) do."""

    def __init__(self, overlay: Overlay, writer: Writer) -> None:
        self._overlay = overlay
        self._writer = writer

    async def allocate(self, ino: int, offset: int, length: int, mode: int) -> None:
        """Reserve, punch or zero a range, as fallocate(2) with the modes it has here."""
        if offset < 0 or length <= 0:
            raise OSError(EINVAL, "range")
        if offset + length > FILE_SIZE_MAX:
            raise OSError(EFBIG, "file size")
        end = offset + length
        if mode in (0, KEEP_SIZE):
            await self._reserve(ino, offset, length, grow=not mode)
        elif mode == KEEP_SIZE | PUNCH_HOLE:
            await self._zero(ino, offset, min(end, self._file(ino).size))
        elif mode in (ZERO_RANGE, ZERO_RANGE | KEEP_SIZE):
            await self._zero(ino, offset, min(end, self._file(ino).size))
            if mode == ZERO_RANGE and end > self._file(ino).size:
                await self._writer.truncate(ino, end)
        else:
            raise OSError(EOPNOTSUPP, "mode")

    def _file(self, ino: int) -> Inode:
        inode = self._overlay.inode(ino)
        if not stat.S_ISREG(inode.mode):
            raise OSError(EINVAL, "not a regular file")
        return inode

    async def _reserve(self, ino: int, offset: int, length: int, *, grow: bool) -> None:
        overlay = self._overlay
        size = self._file(ino).size
        end = offset + length
        if end > INLINE_SIZE_MAX:
            overlay.scratch.admit(length)
            if grow and end > size:
                await self._writer.truncate(ino, end)
            change = Change(overlay)
            inode = self._writer.begin_layer(change, ino)
            change.apply()
            overlay.scratch.files.reserve(inode.layers[-1].number, offset, length)
        elif grow and end > size:
            await self._writer.truncate(ino, end)

    async def _zero(self, ino: int, offset: int, end: int) -> None:
        """Make [offset, end), inside the file, zeros: whole pages as holes, the edges written."""
        while offset < end:
            inode = self._file(ino)
            if inode.flags & INLINE or offset % PAGE:
                stop = min(end, offset + PAGE - offset % PAGE)
                if inode.flags & INLINE:
                    stop = end
                await self._writer.write(ino, offset, bytes(stop - offset))
            elif end - offset < PAGE and end < inode.size:
                stop = end
                await self._writer.write(ino, offset, bytes(stop - offset))
            else:
                stop = min(end if end >= inode.size else end - end % PAGE, offset + PUNCH_AT_ONCE)
                self._punch(ino, offset, stop)
                await checkpoint()
            offset = stop

    def _punch(self, ino: int, offset: int, end: int) -> None:
        """Make whole pages zeros: holes, but where older content lies below, zeros that are data."""
        overlay = self._overlay
        files = overlay.scratch.files
        inode = self._file(ino)
        plan = where(overlay, inode, offset, end)
        if all(source == ZEROS for _, _, source in plan):
            if inode.layers and overlay.scratch.layer_is_open(inode.layers[-1].number):
                files.punch(inode.layers[-1].number, offset, end - offset)  # it may be reserved
            return
        limit = inode.size if not inode.layers else inode.layers[-1].limit
        overlay.scratch.admit(max(0, min(end, limit) - offset) + PAGE)
        change = Change(overlay)
        inode = self._writer.begin_layer(change, ino)
        change.set(ino, inode._replace(mtime_ns=change.now, ctime_ns=change.now))
        top = inode.layers[-1]
        below = inode._replace(layers=inode.layers[:-1])
        visible = max(offset, min(end, top.limit))
        pieces = [Segment(visible, end + -end % PAGE, ZEROS)]
        if offset < visible:
            pieces = [*where(overlay, below, offset, visible), *pieces]
        for start, stop, source in pieces:
            if source != ZEROS:
                files.write(top.number, start, *zeros(stop - start))
            elif start < stop:
                files.punch(top.number, start, stop - start)
        change.apply()

    async def seek(self, ino: int, offset: int, whence: int) -> int:
        """Return where the next data or hole is; ENXIO behind the end."""
        if whence not in (SEEK_DATA, SEEK_HOLE):
            raise OSError(EINVAL, "whence")
        size = self._file(ino).size
        if offset < 0 or offset >= size:
            raise OSError(ENXIO, "behind the end")
        at = offset
        while at < size:
            end = min(size, at + SEEK_AT_ONCE)
            for start, stop, is_data in await self._map(ino, at, end):
                if is_data == (whence == SEEK_DATA) and stop > offset:
                    return max(start, offset)
            at = end
        if whence == SEEK_HOLE:
            return size
        raise OSError(ENXIO, "no data behind")

    async def _map(self, ino: int, start: int, end: int) -> list[tuple[int, int, bool]]:
        """Return (start, end, whether data) of ranges that together are [start, end)."""
        overlay = self._overlay
        inode = self._file(ino)
        if inode.flags & INLINE:
            return [(start, end, True)]
        entry = overlay.unpack(inode.content)
        found: list[tuple[int, int, bool]] = []
        for first, last, source in where(overlay, inode, start, end):
            if source != BASE or entry is None:
                found.append((first, last, source != ZEROS))
                continue
            dsize = entry.dsize
            leaf = first // dsize
            count = (last - 1) // dsize - leaf + 1
            for number, is_data in enumerate(await overlay.base.is_data(entry, leaf, count), leaf):
                piece = max(first, number * dsize), min(last, (number + 1) * dsize)
                found.append((*piece, is_data))
        return found

    async def copy(
        self, source: int, source_offset: int, target: int, target_offset: int, length: int
    ) -> int:
        """Copy bytes between files or inside one; return how many, fewer at the source's end."""
        copied = 0
        while copied < length:
            size = min(COPY_AT_ONCE, length - copied)
            data = b"".join(await read(self._overlay, source, source_offset + copied, size))
            if not data:
                break
            await self._writer.write(target, target_offset + copied, data)
            copied += len(data)
        return copied
