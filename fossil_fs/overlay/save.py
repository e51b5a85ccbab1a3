"""Saving: the scratch as it is at one moment becomes blocks and a root, while writers go on.

1. *Freeze*: one commit; the metadata's snapshot and the layers below it stay as they are from now on.
2. *Build*, deepest directories first, only what has a record: blocks go to the store as they come.
3. *Sync*, then the root block, then sync: the score exists.
4. *Rebase* (rebase.py): what did not change since stands in the new base, so its records go.

Killed anywhere before 4, the scratch still has everything; a save that fails leaves it as it is.
"""

import stat
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Final

from fossil_fs.content import place_xattrs
from fossil_fs.directory import edit_directory
from fossil_fs.links import edit_links
from fossil_fs.node import Node
from fossil_fs.overlay.core import Overlay
from fossil_fs.overlay.layers import visible_base
from fossil_fs.overlay.reading import read_record
from fossil_fs.overlay.rebase import Rebase, Saved
from fossil_fs.overlay.xattrs import all_xattrs
from fossil_fs.record import is_native, stream_sizes
from fossil_fs.scratch import records
from fossil_fs.scratch.records import GONE, INLINE, LINK_IN_BASE, ROOT, Inode
from fossil_fs.scratch.scratch import Frozen
from fossil_fs.snapshot import Snapshot, write_snapshot
from lib9.errors import SpawngridError
from lib9.faults import fault
from lib9.waiting import checkpoint
from venti_store.hashtree.build import build_tree
from venti_store.hashtree.entry import Entry
from venti_store.hashtree.update import update
from venti_store.interfaces import Batch
from venti_store.score import Score

BATCH_SIZE: Final = 2 << 20  # bytes of blocks that wait to be handed to the store
STEP: Final = 1 << 20  # bytes of a file taken between two chances for writers


class SaveRunning(SpawngridError):
    """Another save of this mount is not yet done."""


class Saver:
    """The saves of one mount; one at a time."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self._running = False

    async def save(self, taken: Callable[[], None] = lambda: None) -> Score:
        """Return the score of the tree as it is now: every write that returned before is in it.

        `taken` is called once when the state is held: whatever is written afterwards is not in it.
        On return the root and all blocks below it are on stable storage. Nothing changed: the score
        of the base. Raises as the store does, SaveRunning; OSError EIO when the base cannot be read.
        """
        if self._running:
            raise SaveRunning("a save is running already")
        self._running = True
        try:
            await self._overlay.scratch.commit_gently()
            return await self._save(taken)
        finally:
            self._running = False

    async def _save(self, taken: Callable[[], None]) -> Score:
        overlay = self._overlay
        scratch = overlay.scratch
        if scratch.is_clean:
            taken()
            return overlay.snapshot.score
        overlay.removed_names = set()
        frozen = scratch.freeze()
        taken()
        fault("save.frozen")
        try:
            saved, snapshot = await _Build(overlay, frozen).run()
            frozen.close()
            await Rebase(overlay, saved).run(snapshot)
            overlay.saves += 1
        finally:
            overlay.removed_names = None
            scratch.thaw(frozen)
        fault("save.done")
        return snapshot.score


class _Build:
    """Making blocks of one frozen state."""

    def __init__(self, overlay: Overlay, frozen: Frozen) -> None:
        self._overlay = overlay
        self._frozen = frozen
        self._store = overlay.base.store
        self._batch = Batch(overlay.family)
        self._saved = Saved()
        self._saved_ns = overlay.clock()

    async def run(self) -> tuple[Saved, Snapshot]:
        """Return what was saved, and the new snapshot, which is on stable storage."""
        overlay, old = self._overlay, self._overlay.snapshot
        saved = self._saved
        saved.directories = list(self._changed_directories())
        for directory in reversed(saved.directories):
            await self._directory(directory)
        links = await self._links()
        await self._flush()
        fault("save.blocks-stored")
        root = saved.nodes[ROOT]
        if root == old.root and links == old.link_streams:
            return saved, old
        await self._store.sync()
        fault("save.blocks-synced")
        score = write_snapshot(
            self._batch,
            root,
            links,
            prev=old.score,
            name=old.name,
            blocksize=old.blocksize,
            saved_ns=self._saved_ns,
        )
        await self._flush()
        fault("save.root-written")
        await self._store.sync()
        fault("save.root-synced")
        overlay.base.use_links(links)
        return saved, replace(
            old,
            score=score,
            root=root,
            links=overlay.base.links,
            prev=old.score,
            saved_ns=self._saved_ns,
        )

    def _changed_directories(self) -> Iterator[int]:
        """Give the directories that have a record, each before those below it."""
        todo = [ROOT]
        while todo:
            directory = todo.pop()
            yield directory
            for _, ino in self._frozen.children(directory):
                inode = self._frozen.inode(ino) if ino != GONE else None
                if inode is not None and stat.S_ISDIR(inode.mode):
                    todo.append(ino)

    async def _flush(self) -> None:
        if self._batch.blocks:
            await self._store.put_many(self._batch.take())

    async def _breathe(self) -> None:
        if self._batch.size >= BATCH_SIZE:
            await self._flush()
        await checkpoint()

    async def _directory(self, directory: int) -> None:
        inode = self._record(directory)
        changes: dict[bytes, Node | None] = {}
        self._saved.names[directory] = names = dict(self._frozen.children(directory))
        for name, ino in names.items():
            changes[name] = None if ino == GONE else self._placed(await self._node(ino), inode)
        overlay = self._overlay
        source, meta = overlay.unpack(inode.content), overlay.unpack(inode.meta)
        if changes or meta is None:
            source, meta = await edit_directory(
                self._store, self._batch, source, meta, changes, report=overlay.base.report
            )
        await self._keep(directory, inode, source, meta)
        await self._breathe()

    def _placed(self, node: Node, directory: Inode) -> Node:
        """Return a node as it stands in a directory whose base adds something to qids."""
        offset = directory.rdev
        if not offset:
            return node
        below = (node.qid_offset - offset) if node.is_dir else 0
        return replace(node, qid=(node.qid - offset) % 2**64, qid_offset=below % 2**64)

    def _record(self, ino: int) -> Inode:
        inode = self._frozen.inode(ino)
        if inode is None:
            raise OSError(f"inode {ino} has a name and no record")
        return inode

    async def _node(self, ino: int) -> Node:
        """Return the node of a changed inode; a directory's was made before."""
        node = self._saved.nodes.get(ino)
        if node is None:
            inode = self._record(ino)
            await self._keep(ino, inode, await self._content(ino, inode), None)
            await self._breathe()
            node = self._saved.nodes[ino]
        return node

    async def _keep(
        self, ino: int, inode: Inode, content: Entry | None, meta: Entry | None
    ) -> None:
        xattrs = await all_xattrs(self._overlay, self._frozen, ino, inode)
        xattrs, stream = place_xattrs(self._batch, xattrs)
        is_dir = stat.S_ISDIR(inode.mode)
        link = inode.link if inode.flags & LINK_IN_BASE or inode.nlink > 1 else -1
        self._saved.versions[ino] = inode.version
        if inode.layers:
            self._saved.layered[ino] = inode
        self._saved.nodes[ino] = Node(
            mode=inode.mode,
            uid=inode.uid,
            gid=inode.gid,
            mtime_ns=inode.mtime_ns,
            qid=inode.qid,
            size=0 if is_dir else inode.size,
            rdev=0 if is_dir else inode.rdev,
            content=content,
            meta=meta,
            xattrs=xattrs,
            xattr_stream=stream,
            link=link if link >= 0 and not is_dir else None,
            nlink=1 if is_dir or link < 0 else inode.nlink,
            qid_offset=inode.rdev if is_dir else 0,
        )

    async def _links(self) -> tuple[Entry, Entry] | None:
        """Return the links streams with what changed; None where there are no links."""
        old = self._overlay.snapshot.link_streams
        changes: dict[int, Node | None] = {}
        for rest, value in list(self._frozen.scan(b"l")):
            number, ino = records.unpack_number(rest), records.unpack_number(value)
            self._saved.links[number] = ino
            if ino == GONE:
                changes[number] = None
                continue
            node = await self._node(ino)
            if node.link is not None:
                changes[number] = node
        if not changes or not is_native(self._batch.family):
            return old
        return await edit_links(self._store, self._batch, old, changes)

    # what is in a file

    async def _content(self, ino: int, inode: Inode) -> Entry | None:
        """Return the entry of a file's or symlink's bytes; None where there are none."""
        overlay = self._overlay
        base = overlay.unpack(inode.content)
        if stat.S_ISLNK(inode.mode) or inode.flags & INLINE:
            return self._small(ino, inode) if base is None else base
        if not stat.S_ISREG(inode.mode):
            return base
        if base is not None and not inode.layers and base.size == inode.size:
            return base
        below = await self._cut_base(base, visible_base(inode.layers, base.size if base else 0))
        return await update(
            self._store,
            self._batch,
            below,
            self._changed_leaves(ino, inode, below.dsize),
            size=inode.size,
            cache=overlay.base.cache,
        )

    def _small(self, ino: int, inode: Inode) -> Entry | None:
        if not inode.size:
            return None
        content = self._frozen.get(records.content_key(ino)) or b""
        return build_tree(
            self._batch,
            content.ljust(inode.size, b"\0"),
            dsize=self._overlay.block_size,
            psize=stream_sizes(self._batch.family)[0],
        )

    async def _cut_base(self, base: Entry | None, size: int) -> Entry:
        """Return the first `size` bytes of the base's stream as a stream."""
        overlay = self._overlay
        family = self._batch.family
        if base is None or not size:
            dsize = base.dsize if base is not None else overlay.block_size
            return Entry(family.nothing, 0, stream_sizes(family)[0], dsize, 0)
        if size == base.size:
            return base
        leaf, rest = divmod(size, base.dsize)
        changes = []
        if rest:
            parts = await overlay.base.read(base, size - rest, rest)
            changes.append((leaf, b"".join(parts)))
        cut = await update(self._store, self._batch, base, changes, size=size)
        await self._flush()  # its blocks are read again when the rest is laid over them
        return cut

    async def _changed_leaves(
        self, ino: int, inode: Inode, dsize: int
    ) -> AsyncIterator[tuple[int, bytes]]:
        """Give number and bytes of each block that some layer has a page of."""
        step = max(STEP - STEP % dsize, dsize)
        for start, stop in self._changed_ranges(inode, dsize):
            for at in range(start, stop, step):
                end = min(at + step, stop)
                parts = await read_record(self._overlay, self._frozen, ino, inode, at, end - at)
                data = b"".join(parts)
                for offset in range(0, len(data), dsize):
                    yield (at + offset) // dsize, data[offset : offset + dsize]
                await self._breathe()

    def _changed_ranges(self, inode: Inode, dsize: int) -> list[tuple[int, int]]:
        """Return the ranges of blocks that some layer has pages of, in order, merged."""
        files = self._overlay.scratch.files
        found = sorted(
            (start - start % dsize, min(stop + -stop % dsize, inode.size))
            for layer in inode.layers
            for start, stop in files.present(layer.number, 0, inode.size)
        )
        merged: list[tuple[int, int]] = []
        for start, stop in found:
            if merged and start <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(stop, merged[-1][1])
            else:
                merged.append((start, stop))
        return merged
