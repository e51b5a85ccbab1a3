"""What one block points to, told from the block and its place in a tree; no store."""

from collections.abc import Iterator
from typing import NamedTuple

from venti_store.errors import BadTree
from venti_store.hashtree.entry import Entry
from venti_store.hashtree.root import root_size, unpack_root
from venti_store.hashtree.slots import unpack_leaf
from venti_store.interfaces import Key
from venti_store.kind import Kind, level, pointer
from venti_store.score import Buffer, Family, Score


class Ref(NamedTuple):
    """A block in its place: `leaf` is the kind of the leaves below it, or ROOT of a root.

    A pointer block's own kind does not tell whether data or directories hang below it.
    """

    key: Key
    leaf: Kind
    psize: int
    dsize: int


def root_ref(family: Family, score: Score) -> Ref:
    """Return the place of a root."""
    return Ref(Key(score, Kind.ROOT), Kind.ROOT, 0, root_size(family))


def entry_ref(entry: Entry) -> Ref:
    """Return the place of an entry's top block, which may be no block at all."""
    kind = pointer(entry.depth) if entry.depth else entry.kind
    return Ref(Key(entry.score, kind), entry.kind, entry.psize, entry.dsize)


def size_max(ref: Ref) -> int:
    """Return the most bytes that the block may have."""
    return ref.psize if level(ref.key.kind) else ref.dsize


def children(family: Family, ref: Ref, block: Buffer) -> Iterator[Ref]:
    """Give the blocks that the block at `ref` points to, in order, without those of nothing.

    A root points to its block of entries only: `prev` is another tree. BadTree for a block that
    does not fit its place; raised when the block is reached by the iteration.
    """
    if len(block) > size_max(ref):
        score = ref.key.score.hex()
        raise BadTree(f"{score}: block of {len(block)} bytes, at most {size_max(ref)} fit")
    if ref.key.kind is Kind.ROOT:
        root = unpack_root(family, block)
        if not family.is_nothing(root.score):
            yield Ref(Key(root.score, Kind.DIRECTORY), Kind.DIRECTORY, 0, root.blocksize)
    elif ref.key.kind is Kind.DIRECTORY:
        for entry in unpack_leaf(family, block, ref.dsize):
            if entry is not None and not family.is_nothing(entry.score):
                yield entry_ref(entry)
    elif ref.key.kind is not Kind.DATA:
        height = level(ref.key.kind)
        kind = pointer(height - 1) if height > 1 else ref.leaf
        nothing, zeros, size = family.nothing, bytes(family.size), family.size
        for at in range(0, len(block) - size + 1, size):
            child = bytes(block[at : at + size])
            if child not in (nothing, zeros):
                yield Ref(Key(Score(child), kind), ref.leaf, ref.psize, ref.dsize)
