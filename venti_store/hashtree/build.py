"""Building a tree from its contents, front to back, into a BlockSink; no waiting and no store.

Leaves go to the sink as they fill, a pointer block as soon as its last score is known, so at most
one leaf and one pointer block of every level are in memory, and every block comes after those
below it. Zeros are the score of nothing at whatever level they fill, so a hole costs no block.
"""

from venti_store.errors import TreeTooLarge
from venti_store.hashtree import shape
from venti_store.hashtree.entry import Entry, entry_size
from venti_store.hashtree.layout import BLOCK_SIZE_MIN, LAYOUTS, STREAM_SIZE_MAX
from venti_store.hashtree.zero import truncate_leaf, truncate_pointers
from venti_store.interfaces import BlockSink
from venti_store.kind import Kind, pointer
from venti_store.score import Buffer, Score


def build_tree(
    sink: BlockSink, data: Buffer, *, dsize: int, psize: int, directory: bool = False
) -> Entry:
    """Return the entry of a stream whose contents are all in `data`; the short way for small files."""
    if not directory and len(data) <= dsize:
        return Entry(sink.put(Kind.DATA, truncate_leaf(data)), len(data), psize, dsize, 0)
    builder = TreeBuilder(sink, dsize=dsize, psize=psize, directory=directory)
    builder.write(data)
    return builder.finish()


class TreeBuilder:
    """Takes a stream's bytes in order; `finish` gives its entry.

    The sink may keep parts of the buffers it is given: a buffer must not change until the sink's
    owner has stored the blocks. In a `directory` the bytes are packed entries, which the builder
    lays out so that none straddles two leaves.
    """

    def __init__(self, sink: BlockSink, *, dsize: int, psize: int, directory: bool = False) -> None:
        family = sink.family
        limit = LAYOUTS[family.size].block_size_max
        if not (BLOCK_SIZE_MIN <= dsize <= limit and BLOCK_SIZE_MIN <= psize <= limit):
            raise ValueError(f"blocks of {psize} and {dsize} bytes: not in 256 to {limit}")
        self._sink = sink
        self._family = family
        self._dsize = dsize
        self._psize = psize
        self._kind = Kind.DIRECTORY if directory else Kind.DATA
        self._room = dsize  # bytes of contents in a leaf
        if directory:
            self._room -= dsize % entry_size(family)
        self._fan = shape.fan_out(psize, family.size)
        self._full = self._fan * family.size  # bytes of scores in a pointer block
        self._leaves = 0
        self._leaves_max = shape.leaves_max(family, psize, dsize)
        self._rest = bytearray()  # of the leaf that is not yet full
        self._levels: list[bytearray] = []  # [n]: scores that wait for a pointer block of level n+1

    def write(self, data: Buffer) -> None:
        """Append bytes."""
        room, rest = self._room, self._rest
        if not rest and len(data) == room:
            self._leaf(data)
            return
        view, start = memoryview(data), 0
        if rest:
            start = min(room - len(rest), len(view))
            rest += view[:start]
            if len(rest) < room:
                return
            self._leaf(bytes(rest))
            rest.clear()
        whole = len(view) - (len(view) - start) % room
        for at in range(start, whole, room):
            self._leaf(view[at : at + room])
        rest += view[whole:]

    def write_block(self, block: Buffer) -> None:
        """Append one whole leaf, zero-truncated or not; it counts as `dsize` bytes.

        The bytes before it must have filled their leaves; a last leaf that is shorter is for `write`.
        """
        if self._rest or len(block) > self._room:
            raise ValueError("a whole leaf must start where a leaf does, and fit")
        self._leaf(block)

    def skip(self, length: int) -> None:
        """Append `length` zero bytes, at the cost of the tree's depth."""
        if self._rest:
            fill = min(length, self._room - len(self._rest))
            self.write(bytes(fill))
            length -= fill
        leaves, tail = divmod(length, self._room)
        if leaves:
            self._count(leaves)
            self._zeros(0, leaves)
        if tail:
            self._rest += bytes(tail)

    def finish(self) -> Entry:
        """Write what is left and return the stream's entry; the builder is used up."""
        tail = len(self._rest)
        size = self._leaves * self._dsize + tail
        if size > STREAM_SIZE_MAX:
            raise TreeTooLarge(f"{size} bytes: more than a hash tree can hold")
        directory = self._kind is Kind.DIRECTORY
        if directory and tail % entry_size(self._family):
            raise ValueError("a directory ends inside an entry")
        if tail:
            self._leaf(bytes(self._rest))
        depth = shape.depth_for(self._leaves, self._fan)
        for level in range(depth):
            if self._levels[level]:
                self._push(level + 1, self._close(level))
        score = Score(bytes(self._levels[depth])) if self._leaves else self._family.nothing
        return Entry(score, size, self._psize, self._dsize, depth, directory)

    def _leaf(self, data: Buffer) -> None:
        self._count(1)
        self._push(0, self._sink.put(self._kind, truncate_leaf(data)))

    def _count(self, leaves: int) -> None:
        self._leaves += leaves
        if self._leaves > self._leaves_max:
            raise TreeTooLarge(f"{self._leaves} blocks: more than a hash tree can hold")

    def _waiting(self, level: int) -> bytearray:
        while level >= len(self._levels):
            self._levels.append(bytearray())
        return self._levels[level]

    def _push(self, level: int, score: Score) -> None:
        """Add the score of a finished block of `level`, and of every pointer block it completes."""
        waiting = self._waiting(level)
        waiting += score
        while len(waiting) == self._full:
            score = self._close(level)
            level += 1
            waiting = self._waiting(level)
            waiting += score

    def _zeros(self, level: int, count: int) -> None:
        """Add `count` subtrees of zeros, whole ones as high up as they go."""
        fan, waiting = self._fan, self._waiting(level)
        if waiting:
            take = min(count, fan - len(waiting) // self._family.size)
            waiting += self._family.nothing * take
            count -= take
            if len(waiting) == self._full:
                self._push(level + 1, self._close(level))
        if count >= fan:
            self._zeros(level + 1, count // fan)
            count %= fan
        self._levels[level] += self._family.nothing * count

    def _close(self, level: int) -> Score:
        """Write the pointer block over the scores that wait at `level`."""
        data = truncate_pointers(self._levels[level], self._family)
        self._levels[level].clear()
        return self._sink.put(pointer(level + 1), data)
