"""Is everything below a root here? Proved by looking, at the cost of what differs from roots that are whole.

A store may hold a root without all of its blocks: after an interrupted copy, beside a hole, or because
somebody wrote it so. Leaves are asked for and not read; blocks above them are read and so verified.
Where a tree that is known to be whole has the same block at the same place, nothing below is looked at.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from venti_store.errors import BadTree, NoSuchBlock
from venti_store.halving import Lacking, blocks_there
from venti_store.hashtree.children import Ref, children, root_ref
from venti_store.interfaces import BlockReader, Key
from venti_store.kind import Kind
from venti_store.score import Score

BATCH_MAX: Final = 256  # blocks asked for at once
SEEN_MAX: Final = 1 << 20  # places remembered, so that none is looked at twice: about 200 MB
HOLES_MAX: Final = 64  # named of one tree: enough to say what is wrong, and to ask others for


@dataclass(frozen=True, slots=True)
class Hole:
    """A block below a root that is not here, damaged, or makes no sense in its place."""

    key: Key
    why: str


async def holes_below(
    store: BlockReader, score: Score, whole: Iterable[Score] = (), *, most: int = HOLES_MAX
) -> list[Hole]:
    """Return up to `most` holes of the tree of `score`; none: all of it is here.

    `whole` are roots of this store of which that is known. Raises as the store does for anything
    but a block that is not here or damaged.
    """
    look = _Look(store, most)
    old = [root_ref(store.family, known) for known in whole]
    await look.below([(root_ref(store.family, score), old)])
    return look.holes


class _Look:
    def __init__(self, store: BlockReader, most: int) -> None:
        self._store, self._family, self._most = store, store.family, most
        self._seen: set[Ref] = set()
        self.holes: list[Hole] = []

    async def below(self, starts: list[tuple[Ref, list[Ref]]]) -> None:
        """Look at places, each with those of whole trees that it may equal in part."""
        stack = [(ref, old) for ref, old in starts if ref not in old and self._is_new(ref)]
        while stack and len(self.holes) < self._most:
            batch = [stack.pop() for _ in range(min(BATCH_MAX, len(stack)))]
            await self._ask([ref.key for ref, _ in batch if ref.key.kind is Kind.DATA])
            upper = [(ref, old) for ref, old in batch if ref.key.kind is not Kind.DATA]
            blocks = await self._fetch([ref.key for ref, _ in upper], self._hole)
            known = await self._known([place for _, old in upper for place in old])
            for (ref, old), block in zip(upper, blocks, strict=True):
                if block is not None:
                    beside = [known[place] for place in old if _same_sort(place, ref)]
                    stack += self._children(ref, block, beside)

    def _is_new(self, ref: Ref) -> bool:
        if ref in self._seen or self._family.is_nothing(ref.key.score):
            return False
        if len(self._seen) < SEEN_MAX:
            self._seen.add(ref)
        return True

    async def _ask(self, keys: list[Key]) -> None:
        if keys:
            for key, here in zip(keys, await self._store.have_many(keys), strict=True):
                if not here:
                    self._hole(key, "not here")

    async def _known(self, places: list[Ref]) -> dict[Ref, list[Ref]]:
        """Return what places of whole trees point to; nothing for one that is whole no longer."""
        distinct = list(dict.fromkeys(p for p in places if p.key.kind is not Kind.DATA))
        blocks = await self._fetch([place.key for place in distinct], _say_nothing)
        found: dict[Ref, list[Ref]] = {place: [] for place in places}
        for place, block in zip(distinct, blocks, strict=True):
            if block is not None:
                with suppress(BadTree):
                    found[place] = list(children(self._family, place, block))
        return found

    async def _fetch(self, keys: list[Key], tell: Callable[[Key, str], None]) -> list[bytes | None]:
        """Return blocks; None for those that cannot be had."""

        def lacks(key: Key, error: Lacking) -> None:
            tell(key, "not here" if isinstance(error, NoSuchBlock) else str(error))

        return await blocks_there(self._store.get_many, keys, lacks)

    def _children(
        self, ref: Ref, block: bytes, beside: list[list[Ref]]
    ) -> list[tuple[Ref, list[Ref]]]:
        """Return what to look at below a block: what no whole tree has there.

        What differs is paired in order, so that of a block with one change the right two meet.
        """
        try:
            below = list(children(self._family, ref, block))
        except BadTree as error:
            self._hole(ref.key, str(error))
            return []
        whole = {kid for kids in beside for kid in kids}
        changed = [kid for kid in below if kid not in whole]
        kept = set(below)
        gone = [[kid for kid in kids if kid not in kept] for kids in beside]
        return [
            (kid, [kids[at] for kids in gone if at < len(kids)])
            for at, kid in enumerate(changed)
            if self._is_new(kid)
        ]

    def _hole(self, key: Key, why: str) -> None:
        if len(self.holes) < self._most:
            self.holes.append(Hole(key, why))


def _same_sort(a: Ref, b: Ref) -> bool:
    return (a.key.kind, a.leaf) == (b.key.kind, b.leaf)


def _say_nothing(_key: Key, _why: str) -> None:
    return
