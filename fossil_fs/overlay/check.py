"""Whether everything that a mount stands on agrees: the scratch, the table of inodes, and the base.

| invariant | says |
|---|---|
| (of the scratch) | see fossil_fs/scratch/check.py |
| table | an inode in use has its directory in use, with as many pins as that has such inodes |
| lifted | an inode in use is told by its record, or by its node in the base |
| base | the root that the scratch stands on is in the store and is a root |
| entries | what a record says of the base can be unpacked, and its top block is in the store |
| blocks | (`--blocks`) every block below the root is in the store and is what its score says |
"""

from collections.abc import AsyncIterator, Iterator
from typing import Final

from fossil_fs.overlay.core import Overlay
from fossil_fs.scratch import records
from fossil_fs.scratch.check import RecordsCheck, check_space
from fossil_fs.scratch.errors import ScratchDamaged
from fossil_fs.scratch.past import Past
from fossil_fs.scratch.scratch import Frozen
from lib9.errors import SpawngridError
from lib9.sizes import format_count
from lib9.waiting import checkpoint
from venti_store.errors import BadTree, CorruptBlock, NoSuchBlock
from venti_store.hashtree.children import entry_ref
from venti_store.hashtree.root import unpack_root
from venti_store.hashtree.walk import Walk, root_refs
from venti_store.interfaces import Key
from venti_store.kind import Kind

BATCH: Final = 256  # blocks that the store is asked about at once


class Check:
    """One check of a mount, or of a scratch without one. Changes must wait meanwhile."""

    def __init__(self, overlay: Overlay, *, blocks: bool = False) -> None:
        self._overlay = overlay
        self._every_block = blocks
        self.inodes = self.names = self.layers = self.blocks = 0

    async def run(self) -> AsyncIterator[str]:
        """Give a line `INVARIANT: what is wrong` for everything that is."""
        scratch = self._overlay.scratch
        await scratch.commit_gently()
        for line in [*check_space(scratch), *self._table()]:
            yield line
        frozen = scratch.freeze()
        try:
            found = RecordsCheck(frozen, scratch.files)
            for line in found.run():
                if line:
                    yield line
                else:
                    await checkpoint()
            for epoch in scratch.epochs:
                past = RecordsCheck(Past(frozen, epoch), scratch.files, is_past=True)
                for line in past.run():
                    if line:
                        yield f"{line} (snapshot/{epoch.name.decode()})"
                    else:
                        await checkpoint()
            self.inodes, self.names, self.layers = found.inodes, found.names, len(found.layers)
            async for line in self._base(frozen):
                yield line
        finally:
            scratch.thaw(frozen)

    def _table(self) -> Iterator[str]:
        overlay = self._overlay
        pins: dict[int, int] = {}
        for known in overlay.table:
            if known.ino != records.ROOT:
                pins[known.parent] = pins.get(known.parent, 0) + 1
                if overlay.table.get(known.parent) is None:
                    yield f"table: inode {known.ino} is in inode {known.parent}, not in use"
            if known.node is None and overlay.record(known.ino) is None and not known.gone:
                yield f"lifted: of inode {known.ino} nothing is known"
        for known in overlay.table:
            if known.pins != pins.get(known.ino, 0):
                said, here = known.pins, pins.get(known.ino, 0)
                pins_said, inside = format_count(said, "pin"), format_count(here, "inode")
                yield f"table: inode {known.ino} has {pins_said}, in it: {inside}"

    async def _base(self, frozen: Frozen) -> AsyncIterator[str]:
        try:
            async for line in self._root():
                yield line
            async for line in self._entries(frozen):
                yield line
            if self._every_block:
                async for line in self._blocks():
                    yield line
        except SpawngridError as error:
            yield f"base: {error}"

    async def _root(self) -> AsyncIterator[str]:
        base = self._overlay.base
        score = base.family.parse(self._overlay.scratch.base)
        try:
            [block] = await base.store.get_many([Key(score, Kind.ROOT)])
            unpack_root(base.family, block)
        except (NoSuchBlock, CorruptBlock, BadTree) as error:
            yield f"base: {error}"

    async def _entries(self, frozen: Frozen) -> AsyncIterator[str]:
        family = self._overlay.family
        asked: dict[Key, int] = {}
        for count, (rest, value) in enumerate(frozen.scan(b"i")):
            ino = records.unpack_number(rest)
            try:
                inode = records.unpack_inode(value)
                entries = [
                    self._overlay.unpack(packed)
                    for packed in (inode.content, inode.meta, inode.xattr_stream)
                ]
            except ScratchDamaged:
                continue  # told by the check of the records
            except BadTree as error:
                yield f"entries: inode {ino}: {error}"
                continue
            for entry in entries:
                if entry is not None and not family.is_nothing(entry.score):
                    asked[entry_ref(entry).key] = ino
            if len(asked) >= BATCH or count % BATCH == 0:
                for line in await self._missing(asked):
                    yield line
                asked = {}
                await checkpoint()
        for line in await self._missing(asked):
            yield line

    async def _missing(self, asked: dict[Key, int]) -> list[str]:
        if not asked:
            return []
        here = await self._overlay.base.store.have_many(list(asked))
        return [
            f"entries: inode {ino}: block {key.score.hex()} is not in the store"
            for (key, ino), have in zip(asked.items(), here, strict=True)
            if not have
        ]

    async def _blocks(self) -> AsyncIterator[str]:
        store = self._overlay.base.store
        found: list[str] = []

        def missing(_key: Key, error: NoSuchBlock | CorruptBlock) -> None:
            found.append(f"blocks: {error}")

        score = self._overlay.family.parse(self._overlay.scratch.base)
        walk = Walk(store, root_refs(store, [score]), missing=missing, above_holes=True)
        async for batch in walk:
            self.blocks += len(batch)
            for line in found:
                yield line
            found.clear()
        for line in found:
            yield line
