"""Which part of a file comes from where: its layers from the top down, the base below, else zeros.

Below each layer `limit` bytes of the older content are visible: what a truncation cut off stays
zeros when the file grows again.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from fossil_fs.scratch.datafiles import DataFiles
from fossil_fs.scratch.records import Layer

BASE: Final = -1
ZEROS: Final = -2

Range = tuple[int, int]


class Segment(NamedTuple):
    """Bytes `start` to `end` of a file: from the layer of this number, from BASE, or ZEROS."""

    start: int
    end: int
    source: int


def visible_base(layers: Sequence[Layer], size: int) -> int:
    """Return how many of the base's `size` bytes can still be seen."""
    return min([size, *(layer.limit for layer in layers)])


def segments(
    files: DataFiles, layers: Sequence[Layer], base_size: int, start: int, end: int
) -> list[Segment]:
    """Return where the bytes of [start, end) come from, in order, without gaps."""
    found: list[Segment] = []
    todo: list[Range] = [(start, end)]
    for layer in reversed(layers):
        below: list[Range] = []
        for piece in todo:
            present = list(files.present(layer.number, *piece))
            found += [Segment(*part, layer.number) for part in present]
            below += _without(piece, present)
        todo = _clip(below, layer.limit, found)
    todo = _clip(todo, base_size, found)
    found += [Segment(*piece, BASE) for piece in todo]
    return sorted(found)


def _without(piece: Range, parts: Sequence[Range]) -> list[Range]:
    """Return what `parts`, which lie in `piece` in order, leave of it."""
    rest = []
    at, end = piece
    for first, last in parts:
        if at < first:
            rest.append((at, first))
        at = last
    if at < end:
        rest.append((at, end))
    return rest


def _clip(pieces: Sequence[Range], limit: int, found: list[Segment]) -> list[Range]:
    """Return what of `pieces` lies before `limit`; the rest is zeros."""
    visible = []
    for first, last in pieces:
        if first < limit:
            visible.append((first, min(last, limit)))
        if last > limit:
            found.append(Segment(max(first, limit), last, ZEROS))
    return visible
