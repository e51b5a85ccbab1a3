"""Roots: the block a tree's score names, 300 bytes with SHA-1, 324 with BLAKE3."""

from dataclasses import dataclass

from venti_store.errors import BadTree
from venti_store.hashtree.layout import (
    BLOCK_SIZE_MIN,
    LAYOUTS,
    NAME_SIZE,
    ROOT_BIG,
    ROOT_VERSION,
    pack_big,
    unpack_big,
)
from venti_store.score import Buffer, Family, Score

_U16_MAX = 0xFFFF


@dataclass(frozen=True, slots=True)
class Root:
    """A tree: `score` is a leaf of entries, `prev` the root before this one or no block.

    `name` and `type` are at most 128 bytes without NUL; `blocksize` is that of the tree's data.
    """

    name: bytes
    type: bytes
    score: Score
    blocksize: int
    prev: Score


def root_size(family: Family) -> int:
    """Return the bytes in a root block: 300 (sha1) or 324 (blake3)."""
    return LAYOUTS[family.size].root.size


def pack_root(family: Family, root: Root) -> bytes:
    """Return the block of a root; ValueError for one that `unpack_root` would refuse."""
    for text in (root.name, root.type):
        if len(text) > NAME_SIZE or b"\0" in text:
            raise ValueError(f"root with name or type {text!r}")
    if len(root.score) != family.size or len(root.prev) != family.size:
        raise ValueError("root with a score of another family")
    limit = LAYOUTS[family.size].block_size_max
    if not BLOCK_SIZE_MIN <= root.blocksize <= limit:
        raise ValueError(f"root with blocks of {root.blocksize} bytes: not in 256 to {limit}")
    version, blocksize = ROOT_VERSION, root.blocksize
    if blocksize > _U16_MAX:
        version, blocksize = version | ROOT_BIG, pack_big(blocksize)
    packer = LAYOUTS[family.size].root
    return packer.pack(version, root.name, root.type, root.score, blocksize, root.prev)


def unpack_root(family: Family, data: Buffer) -> Root:
    """Return the root in a block; BadTree for another length, version or block size."""
    packer = LAYOUTS[family.size].root
    if len(data) != packer.size:
        raise BadTree(f"root of {len(data)} bytes instead of {packer.size}")
    version, name, kind, score, blocksize, prev = packer.unpack(data)
    if version & ~ROOT_BIG != ROOT_VERSION:
        raise BadTree(f"root of version {version & ~ROOT_BIG} instead of {ROOT_VERSION}")
    if version & ROOT_BIG:
        blocksize = unpack_big(blocksize)
    limit = LAYOUTS[family.size].block_size_max
    if not BLOCK_SIZE_MIN <= blocksize <= limit:
        raise BadTree(f"root with blocks of {blocksize} bytes: not in 256 to {limit}")
    return Root(_text(name), _text(kind), Score(score), blocksize, Score(prev))


def _text(padded: bytes) -> bytes:
    return padded.partition(b"\0")[0]
