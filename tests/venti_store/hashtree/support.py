"""What the tests of trees share: a store that counts, recorded blocks of real programs, models."""

from collections.abc import Sequence
from pathlib import Path

from hypothesis import strategies as st

from venti_store.errors import NoSuchBlock
from venti_store.hashtree.build import TreeBuilder
from venti_store.hashtree.entry import Entry
from venti_store.interfaces import Block, Key
from venti_store.kind import Kind
from venti_store.score import BLAKE3, SHA1, Buffer, Family, Score

DATA = Path(__file__).parents[2] / "data" / "hashtree"
RECORDED = ["vac-blocks", "vac-a-blocks", "vac-a2-blocks", "fossil-blocks"]
SMALL = 256  # the smallest block size: 12 (sha1) or 8 (blake3) scores, so that trees are deep

families = st.sampled_from([SHA1, BLAKE3])


class CountingStore:
    """Blocks in a dict, and how often it was asked for which; a BlockSink too."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.blocks: dict[Key, bytes] = {}
        self.calls: list[list[Key]] = []

    @property
    def asked(self) -> list[Key]:
        return [key for call in self.calls for key in call]

    async def get_many(self, keys: Sequence[Key]) -> list[bytes]:
        self.calls.append(list(keys))
        return [self._get(key) for key in keys]

    def _get(self, key: Key) -> bytes:
        if self.family.is_nothing(key.score):
            return b""
        if key not in self.blocks:
            raise NoSuchBlock(f"{key.score.hex()}: not here")
        return self.blocks[key]

    async def have_many(self, keys: Sequence[Key]) -> list[bool]:
        return [key in self.blocks for key in keys]

    async def put_many(self, blocks: Sequence[Block]) -> None:
        for block in blocks:
            self.put(block.kind, block.data)

    async def sync(self) -> None: ...

    async def aclose(self) -> None: ...

    def put(self, kind: Kind, data: Buffer) -> Score:
        score = self.family.score(data)
        if data:
            self.blocks[Key(score, kind)] = bytes(data)
        return score


def build(sink: CountingStore, data: bytes, dsize: int = SMALL, psize: int = SMALL) -> Entry:
    builder = TreeBuilder(sink, dsize=dsize, psize=psize)
    builder.write(data)
    return builder.finish()


def recorded(name: str) -> CountingStore:
    """Return the blocks of an archive made by a real program, see tests/data/hashtree/README.md."""
    store = CountingStore(SHA1)
    for line in (DATA / f"{name}.txt").read_text().splitlines()[1:]:
        score, _, kind, length, *data = line.split()
        block = bytes.fromhex(data[0]) if data else b""
        assert len(block) == int(length)
        store.blocks[Key(Score(bytes.fromhex(score)), Kind(int(kind)))] = block
    return store


@st.composite
def contents(draw: st.DrawFn, size_max: int = 100_000) -> bytes:
    """Bytes in runs, many of them zero, so that trees of several levels with holes come up."""
    runs = draw(
        st.lists(
            st.tuples(
                st.sampled_from([0, 1, 255, 256, 257, 2048, 3072, 16384]),
                st.sampled_from([b"\0", b"\0", b"x", b"ab\0"]),
            ),
            max_size=12,
        )
    )
    data = b"".join((pattern * length)[:length] for length, pattern in runs)
    return data[:size_max]
