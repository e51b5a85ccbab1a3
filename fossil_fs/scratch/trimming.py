"""Layers that no snapshot ends with any more: what is hidden in them is freed, many become few.

A layer that lies below another wherever it is seen - now, and in each snapshot - is *inner*. What the
layers above it hide can be punched out of it; nobody sees the difference. Where a file has many layers,
inner ones are merged into the next above.

Pages are punched after a commit only: until then, what a power cut would leave may still show them.
"""

from collections.abc import Iterator, Sequence
from errno import ENOSPC
from typing import Final

from fossil_fs.scratch import history
from fossil_fs.scratch.holes import PAGE
from fossil_fs.scratch.journal import Op, put, replace
from fossil_fs.scratch.records import Inode, Layer, inode_key, pack_inode
from fossil_fs.scratch.scratch import Scratch
from lib9.faults import fault
from lib9.waiting import checkpoint

BATCH_MAX: Final = 64  # inodes that wait for one commit together
PIECE: Final = 16 << 20  # bytes of a layer looked at between two chances for writers
MERGE_ABOVE: Final = (
    32  # layers of a file that are not merged: each costs a read a few microseconds
)

Stack = tuple[Layer, ...]


class Trimmer:
    """Frees what is hidden in the layers of a scratch's inodes, as `Scratch.stacked` names them."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch

    async def step(self) -> bool:
        """Trim some inodes; tell whether there may be more. While a save reads layers: nothing."""
        scratch = self._scratch
        todo: dict[int, set[Stack]] = {}
        while scratch.stacked and len(todo) < BATCH_MAX and not scratch.frozen_below:
            ino = scratch.stacked.pop()
            stacks = scratch.stacks(ino)
            if any(_inner(stacks)):
                todo[ino] = stacks
        if not todo:
            return False
        await scratch.commit_gently()
        fault("trim.committed")
        for ino, stacks in todo.items():
            if not await self._trim(ino, stacks):
                scratch.stacked.add(ino)
                continue
            if max(map(len, stacks)) > MERGE_ABOVE:
                await self._merge(ino, stacks)
        return True

    def _is_as(self, ino: int, stacks: set[Stack]) -> bool:
        """Tell whether an inode's layers are still these, and no save reads them."""
        return not self._scratch.frozen_below and self._scratch.stacks(ino) == stacks

    async def _trim(self, ino: int, stacks: set[Stack]) -> bool:
        """Punch what is hidden; False: the layers changed meanwhile."""
        files = self._scratch.files
        for layer, above in _inner(stacks):
            limit = min(other.limit for other in above)
            length = files.length(layer.number)
            for start in range(0, length, PIECE):
                end = min(start + PIECE, length)
                if not self._is_as(ino, stacks):
                    return False
                hidden = [(max(start, limit + -limit % PAGE), end)]
                for other in above:
                    hidden += files.present(other.number, start, end)
                for first, last in hidden:
                    for part in list(files.present(layer.number, first, last)):
                        files.punch(layer.number, part[0], part[1] + -part[1] % PAGE - part[0])
                await checkpoint()
        fault("trim.punched")
        return True

    async def _merge(self, ino: int, stacks: set[Stack]) -> None:
        """Merge the smallest inner layer into the one above it, if there is room for its pages."""
        scratch = self._scratch
        files = scratch.files
        inner = [(files.allocated_of(low.number), low, above[0]) for low, above in _inner(stacks)]
        size, low, high = min(inner)
        try:
            scratch.admit(size)
        except OSError as error:
            if error.errno != ENOSPC:
                raise
            return
        length = min(files.length(low.number), high.limit)
        for start in range(0, length, PIECE):
            if not self._is_as(ino, stacks):
                return
            self._copy_up(low, high, start, min(start + PIECE, length))
            await checkpoint()
        fault("merge.copied")
        await scratch.commit_gently()
        if self._is_as(ino, stacks):
            scratch.apply(list(self._without(ino, low, high)))
            fault("merge.applied")
            scratch.release(ino, [low.number])

    def _copy_up(self, low: Layer, high: Layer, start: int, end: int) -> None:
        files = self._scratch.files
        for first, last in list(files.present(low.number, start, end)):
            at = first
            for a, b in [*files.present(high.number, first, last), (last, last)]:
                if at < a:
                    files.write(high.number, at, files.read(low.number, at, a - at))
                at = b

    def _without(self, ino: int, low: Layer, high: Layer) -> Iterator[Op]:
        """Give the mutation that takes a merged layer out of every record."""
        scratch = self._scratch
        merged = Layer(high.number, min(low.limit, high.limit))

        def change(inode: Inode) -> Inode:
            layers = (merged if one == high else one for one in inode.layers if one != low)
            return inode._replace(layers=tuple(layers))

        inode = scratch.inode(ino)
        if inode is not None and low in inode.layers:
            yield replace(inode_key(ino), pack_inode(change(inode)))
        for key, past in list(scratch.past_inodes(ino)):
            if low in past.layers:
                yield put(key, history.pack_past(pack_inode(change(past))))


def _inner(stacks: set[Stack]) -> Iterator[tuple[Layer, Sequence[Layer]]]:
    """Give each inner layer, and what lies above it wherever it is seen, the lowest first."""
    places: dict[Layer, list[Stack]] = {}
    for stack in stacks:
        for at, layer in enumerate(stack):
            places.setdefault(layer, []).append(stack[at + 1 :])
    for layer, rests in places.items():
        above = []
        for level in zip(*rests, strict=False):
            if any(one != level[0] for one in level):
                break
            above.append(level[0])
        if above:
            yield layer, above
