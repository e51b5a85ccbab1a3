"""Entries: what a directory leaf holds of each stream, 40 bytes with SHA-1, 52 with BLAKE3."""

from dataclasses import dataclass

from venti_store.errors import BadTree, TreeTooLarge
from venti_store.hashtree import layout, shape
from venti_store.hashtree.layout import ACTIVE, BIG, DIRECTORY, LAYOUTS, NO_ARCHIVE, pack_big
from venti_store.kind import DEPTH_MAX, Kind
from venti_store.score import Buffer, Family, Score

_U16_MAX = 0xFFFF
_FLAGS_KEPT = ACTIVE | DIRECTORY | layout.DEPTH | NO_ARCHIVE
_SIZE_OF_NOTHING = 4096  # block sizes of an entry that states none, and has no block


@dataclass(frozen=True, slots=True)
class Entry:
    """A stream: the top block of its tree, its size in bytes, and the tree's shape.

    `depth` is the levels of pointer blocks (`psize` bytes each) above the leaves (`dsize` bytes).
    The leaves of a `directory` hold entries.
    """

    score: Score
    size: int
    psize: int
    dsize: int
    depth: int
    directory: bool = False
    gen: int = 0
    no_archive: bool = False

    @property
    def leaves(self) -> int:
        """How many leaves the stream has, those of zeros included."""
        return -(-self.size // self.dsize)

    @property
    def kind(self) -> Kind:
        """The kind of the leaves."""
        return Kind.DIRECTORY if self.directory else Kind.DATA


def entry_size(family: Family) -> int:
    """Return the bytes in a packed entry: 40 (sha1) or 52 (blake3)."""
    return LAYOUTS[family.size].entry.size


def pack_entry(family: Family, entry: Entry | None) -> bytes:
    """Return the bytes of an entry; of None those of an unused slot, all zero.

    ValueError for an entry that `unpack_entry` would refuse.
    """
    packer = LAYOUTS[family.size].entry
    if entry is None:
        return bytes(packer.size)
    wrong = _wrong(family, entry)
    if wrong is not None:
        raise ValueError(wrong)
    flags = ACTIVE | entry.depth << layout.DEPTH_SHIFT
    if entry.directory:
        flags |= DIRECTORY
    if entry.no_archive:
        flags |= NO_ARCHIVE
    psize, dsize = entry.psize, entry.dsize
    if psize > _U16_MAX or dsize > _U16_MAX:
        psize, dsize, flags = pack_big(psize), pack_big(dsize), flags | BIG
    return packer.pack(entry.gen, psize, dsize, flags, entry.size.to_bytes(6), entry.score)


def unpack_entry(family: Family, data: Buffer) -> Entry | None:
    """Return the entry in `data`, or None of an unused slot.

    `data` may lack zero bytes at its end, as a truncated leaf does. BadTree for an entry that makes
    no sense: too long, sizes out of range, a size that needs more depth than the entry has.
    """
    packer = LAYOUTS[family.size].entry
    if len(data) != packer.size:
        if len(data) > packer.size:
            raise BadTree(f"entry of {len(data)} bytes instead of {packer.size}")
        data = bytes(data).ljust(packer.size, b"\0")
    gen, psize, dsize, flags, size, score = packer.unpack(data)
    if not flags & ACTIVE:
        return None
    if flags & BIG:
        psize, dsize = layout.unpack_big(psize), layout.unpack_big(dsize)
    if not psize and not dsize and family.is_nothing(score):
        psize = dsize = _SIZE_OF_NOTHING
    depth = (flags & layout.DEPTH) >> layout.DEPTH_SHIFT
    entry = Entry(
        Score(score),
        int.from_bytes(size),
        psize,
        dsize,
        depth,
        bool(flags & DIRECTORY),
        gen,
        bool(flags & NO_ARCHIVE),
    )
    wrong = _wrong(family, entry)
    if wrong is not None:
        raise BadTree(wrong)
    return entry


def _wrong(family: Family, entry: Entry) -> str | None:
    """Return what is wrong with an entry, or None; a depth greater than needed is not wrong."""
    limit = LAYOUTS[family.size].block_size_max
    psize, dsize, depth = entry.psize, entry.dsize, entry.depth
    if not (layout.BLOCK_SIZE_MIN <= psize <= limit and layout.BLOCK_SIZE_MIN <= dsize <= limit):
        return f"entry with blocks of {psize} and {dsize} bytes: not in 256 to {limit}"
    if len(entry.score) != family.size:
        return f"entry with a score of {len(entry.score)} bytes instead of {family.size}"
    if entry.size <= dsize and 0 <= depth <= DEPTH_MAX and entry.size >= 0:
        return None
    try:
        needed = shape.needed_depth(family, entry.size, psize, dsize)
    except TreeTooLarge as error:
        return f"entry: {error}"
    if not needed <= depth <= DEPTH_MAX or entry.size < 0:
        return f"entry of {entry.size} bytes with depth {depth}: needs {needed}"
    return None
