"""Writing a file's bytes: small files in the metadata, larger ones in a layer of whole pages.

A page of a layer counts as soon as any of it is data. So a page that is written in part, with older
content below, is completed in the same write(2): a kill leaves it old or new. What must be read from
the base for that is read before anything is looked at for good; if the file changed meanwhile,
everything is looked at once more.
"""

import stat
from errno import EFBIG, EINVAL, ENOSPC
from typing import Final

from fossil_fs.overlay.core import RECORD_ROOM, Change, Overlay
from fossil_fs.overlay.layers import ZEROS
from fossil_fs.overlay.reading import read_record, where
from fossil_fs.scratch import records
from fossil_fs.scratch.holes import PAGE
from fossil_fs.scratch.journal import cut, delete, patch, put
from fossil_fs.scratch.records import INLINE, INLINE_SIZE_MAX, Inode, Layer
from lib9.faults import fault
from venti_store.hashtree.layout import STREAM_SIZE_MAX
from venti_store.score import Buffer

LAYERS_MAX: Final = 512  # each snapshot, and each save that fails, may leave one
FILE_SIZE_MAX: Final = STREAM_SIZE_MAX

Fills = dict[int, bytes]  # start of a page to the older content in it


class Writer:
    """The changes of files' bytes and sizes."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay

    async def write(self, ino: int, offset: int, data: Buffer) -> int:
        """Write all of `data`; ENOSPC leaves the file as it was."""
        if not data:
            return 0
        end = offset + len(data)
        if end > FILE_SIZE_MAX:
            raise OSError(EFBIG, "file size")
        fills: Fills = {}
        while True:
            inode = self._file(ino)
            if self._is_small(inode, max(end, inode.size)):
                if inode.flags & INLINE:
                    self._write_inline(ino, offset, data)
                    return len(data)
                await self._make_inline(ino, inode, inode.size)
                continue
            missing = [page for page in self._edges(inode, offset, end) if page not in fills]
            if not missing:
                break
            for page in missing:
                fills[page] = await self._older(ino, inode, page)
            if self._file(ino).layers != inode.layers:
                fills.clear()  # cut, saved or begun anew: what was read may not be what is there
        try:
            self._write_layer(ino, offset, data, fills)
        except OSError as error:
            # no await since `fills` were read: what was deleted lately may still be on the disk
            if error.errno != ENOSPC or not self._overlay.scratch.make_room():
                raise
            self._write_layer(ino, offset, data, fills)
        return len(data)

    def _file(self, ino: int) -> Inode:
        inode = self._overlay.inode(ino)
        if not stat.S_ISREG(inode.mode):
            raise OSError(EINVAL, "not a regular file")
        return inode

    def _is_small(self, inode: Inode, size: int) -> bool:
        """Tell whether a file, with `size` bytes, is kept in the metadata."""
        return size <= INLINE_SIZE_MAX and not inode.layers

    def _write_inline(self, ino: int, offset: int, data: Buffer) -> None:
        overlay = self._overlay
        overlay.scratch.admit(RECORD_ROOM + len(data), inline=True)
        change = Change(overlay)
        inode = change.inode(ino)
        change.ops.append(patch(records.content_key(ino), offset, bytes(data)))
        self._grow(change, ino, inode, offset + len(data))
        change.apply()
        fault("write.inline-applied")

    def _grow(self, change: Change, ino: int, inode: Inode, end: int) -> None:
        change.set(
            ino,
            inode._replace(size=max(inode.size, end), mtime_ns=change.now, ctime_ns=change.now),
        )

    async def _make_inline(self, ino: int, inode: Inode, size: int) -> None:
        """Take the first `size` bytes of a file into the metadata, if it has not changed meanwhile."""
        overlay = self._overlay
        parts = await read_record(overlay, overlay.scratch, ino, inode, 0, size) if size else []
        if self._file(ino) != inode:
            return
        content = b"".join(parts)
        overlay.scratch.admit(RECORD_ROOM + len(content), inline=True)
        change = Change(overlay)
        lifted = change.inode(ino)
        change.condemn(ino, lifted)
        change.ops.append(put(records.content_key(ino), content))
        change.set(
            ino,
            lifted._replace(
                flags=lifted.flags | INLINE,
                content=b"",
                layers=(),
                size=size,
            ),
        )
        change.apply()

    # larger files

    def _edges(self, inode: Inode, offset: int, end: int) -> list[int]:
        """Return the starts of the pages whose older content a write to [offset, end) needs.

        They are the first and the last, where they are written in part and lie in no open layer.
        """
        if inode.flags & INLINE:
            return []
        first, last = offset - offset % PAGE, (end - 1) - (end - 1) % PAGE
        needed = []
        for start in {first, last}:
            covered = offset <= start and min(start + PAGE, max(inode.size, end)) <= end
            if not covered and self._lies_below(inode, start):
                needed.append(start)
        return sorted(needed)

    def _lies_below(self, inode: Inode, start: int) -> bool:
        """Tell whether a page is in no open layer, and shows older content."""
        overlay = self._overlay
        end = min(start + PAGE, inode.size)
        if start >= end:
            return False
        top = self._open_layer(inode)
        return any(source not in (ZEROS, top) for _, _, source in where(overlay, inode, start, end))

    def _open_layer(self, inode: Inode) -> int | None:
        """Return the number of the top layer if it may be written."""
        if inode.layers and self._overlay.scratch.layer_is_open(inode.layers[-1].number):
            return inode.layers[-1].number
        return None

    async def _older(self, ino: int, inode: Inode, start: int) -> bytes:
        overlay = self._overlay
        size = min(PAGE, inode.size - start)
        return b"".join(await read_record(overlay, overlay.scratch, ino, inode, start, size))

    def _write_layer(self, ino: int, offset: int, data: Buffer, fills: Fills) -> None:
        """Write to the open layer, which is begun if need be. No await: see the package."""
        overlay = self._overlay
        files = overlay.scratch.files
        inode = self._file(ino)
        old_layers = inode.layers
        end = offset + len(data)
        self._admit(inode, offset, end)
        change = Change(overlay)
        inode = self.begin_layer(change, ino)
        number = inode.layers[-1].number
        try:
            self._put(inode, number, offset, data, fills)
            fault("write.data-written")
            self._grow(change, ino, inode, end)
            change.apply()
        except OSError:
            if inode.layers[:-1] == old_layers:
                files.truncate(number, 0)  # a commit may need what it took of a full disk
                files.condemn([number])
            elif end > inode.size and files.length(number) > inode.size:
                files.truncate(number, inode.size)
            raise
        fault("write.applied")

    def _admit(self, inode: Inode, offset: int, end: int) -> None:
        """ENOSPC unless the pages that a write begins have room."""
        overlay = self._overlay
        top = self._open_layer(inode)
        first, last = offset - offset % PAGE, end + -end % PAGE
        need = last - first + RECORD_ROOM
        if inode.flags & INLINE:
            need += INLINE_SIZE_MAX
        if overlay.scratch.fits(need):  # whatever of it is there already
            return
        if top is not None and first < inode.size:  # behind the end no page is present
            present = overlay.scratch.files.present(top, first, last)
            need -= sum(b - a for a, b in present)
        if need > RECORD_ROOM:
            overlay.scratch.admit(need)

    def begin_layer(self, change: Change, ino: int) -> Inode:
        """Return the inode with an open layer on top; what was inline goes there."""
        overlay = self._overlay
        files = overlay.scratch.files
        inode = change.inode(ino)
        if self._open_layer(inode) is not None:
            return inode
        if len(inode.layers) >= LAYERS_MAX:
            raise OSError(ENOSPC, "layers")
        if inode.layers:
            overlay.scratch.stacked.add(ino)
        number = overlay.scratch.next_layer()
        if inode.flags & INLINE:
            content = overlay.scratch.get(records.content_key(ino)) or b""
            if content:
                files.write(number, 0, content)
            change.ops.append(delete(records.content_key(ino)))
            inode = inode._replace(flags=inode.flags & ~INLINE, layers=(Layer(number, 0),))
        else:
            files.truncate(number, 0)
            inode = inode._replace(layers=(*inode.layers, Layer(number, inode.size)))
        fault("layer.begun")
        change.set(ino, inode)
        return inode

    def _put(self, inode: Inode, number: int, offset: int, data: Buffer, fills: Fills) -> None:
        """Write `data`, with older content before and behind it where its first and last page need it."""
        end = offset + len(data)
        start, last = offset - offset % PAGE, (end - 1) - (end - 1) % PAGE
        front, back = fills.get(start, b""), fills.get(last, b"")
        if front and not self._lies_below(inode, start):
            front = b""  # the page is there by now
        if back and not self._lies_below(inode, last):
            back = b""
        before = front[: offset - start].ljust(offset - start, b"\0") if front else b""
        behind = back[end - last :]
        self._overlay.scratch.files.write(number, offset - len(before), before, data, behind)

    # sizes

    async def truncate(self, ino: int, size: int) -> None:
        """Cut or lengthen a file; what it gains is zeros."""
        if size > FILE_SIZE_MAX:
            raise OSError(EFBIG, "file size")
        while True:
            inode = self._file(ino)
            if inode.flags & INLINE or size > INLINE_SIZE_MAX or size >= inode.size:
                break
            await self._make_inline(ino, inode, size)
        if inode.flags & INLINE:
            self._truncate_inline(ino, size)
        else:
            self._truncate_layers(ino, size)

    def _truncate_inline(self, ino: int, size: int) -> None:
        change = Change(self._overlay)
        inode = change.inode(ino)
        if size > INLINE_SIZE_MAX:
            inode = self.begin_layer(change, ino)
        else:
            change.ops.append(cut(records.content_key(ino), size))
        change.set(ino, inode._replace(size=size, mtime_ns=change.now, ctime_ns=change.now))
        change.apply()

    def _truncate_layers(self, ino: int, size: int) -> None:
        overlay = self._overlay
        scratch = overlay.scratch
        change = Change(overlay)
        inode = change.inode(ino)
        shorter = size < inode.size
        if shorter:
            inode = self.begin_layer(change, ino)
            *lower, top = inode.layers
            inode = inode._replace(layers=(*lower, Layer(top.number, min(top.limit, size))))
        change.set(ino, inode._replace(size=size, mtime_ns=change.now, ctime_ns=change.now))
        change.apply()
        fault("truncate.applied")
        if shorter and scratch.files.length(inode.layers[-1].number) > size:
            scratch.metadata.sync()  # the bytes must not be gone before the size says so
            scratch.files.truncate(inode.layers[-1].number, size)
