"""Two trees side by side: what was added, removed or changed, at the cost of what differs.

Directories whose streams have the same scores are equal all the way down and are not read. A tree
beside nothing gives every path, so a walk is the same thing. No recursion: depth is from outside.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from fossil_fs.directory import Directory
from fossil_fs.node import Node
from venti_store.errors import BadTree

DEPTH_MAX: Final = 2048  # directories within directories: as many as the kernel's longest path

_Pair = tuple[bytes, Node | None, Node | None]


@dataclass(frozen=True, slots=True)
class Difference:
    """What a path (no slash in front) is in either tree, None where it is not there."""

    path: bytes
    old: Node | None
    new: Node | None


async def walk(directory: Directory) -> AsyncIterator[tuple[bytes, Node]]:
    """Give every path below `directory`, a directory before what is in it, names ascending."""
    async for difference in compare(None, directory):
        if difference.new is not None:
            yield difference.path, difference.new


async def compare(
    old: Directory | None, new: Directory | None, *, skip_equal: bool = True
) -> AsyncIterator[Difference]:
    """Give what differs below two directories, in the order of `walk`.

    A directory in both is given if it differs itself; its time, which follows from its names, is not
    counted. Without `skip_equal` equal directories are read too: needed where inodes with several
    names differ, since their names do not show it. Raises as the store does, and BadTree.
    """
    levels = [(b"", old, new, _pairs(old, new))]
    while levels:
        path, below_old, below_new, pairs = levels[-1]
        pair = await anext(pairs, None)
        if pair is None:
            levels.pop()
            continue
        name, before, after = pair
        here = path + name
        if before is None or after is None or not _equal(before, after):
            yield Difference(here, before, after)
        children = (
            below_old.child(before) if below_old and before and before.is_dir else None,
            below_new.child(after) if below_new and after and after.is_dir else None,
        )
        if children == (None, None) or (skip_equal and _same_streams(before, after)):
            continue
        if len(levels) == DEPTH_MAX:
            raise BadTree(f"more than {DEPTH_MAX} directories within each other")
        levels.append((here + b"/", *children, _pairs(*children)))


async def _pairs(old: Directory | None, new: Directory | None) -> AsyncIterator[_Pair]:
    """Give every name of two directories once, ascending, with what it is in each."""
    left, right = _names(old), _names(new)
    a, b = await anext(left, None), await anext(right, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a[0] < b[0]):
            assert a is not None
            yield a[0], a[1], None
            a = await anext(left, None)
        elif a is None or b[0] < a[0]:
            yield b[0], None, b[1]
            b = await anext(right, None)
        else:
            yield a[0], a[1], b[1]
            a, b = await anext(left, None), await anext(right, None)


async def _names(directory: Directory | None) -> AsyncIterator[tuple[bytes, Node]]:
    if directory is not None:
        async for batch in directory.entries():
            for item in batch:
                yield item


def _equal(a: Node, b: Node) -> bool:
    """Tell whether two inodes are the same but for their numbers and what is below them."""
    if (a.mode, a.uid, a.gid, a.rdev) != (b.mode, b.uid, b.gid, b.rdev):
        return False
    if (a.owner, a.group, a.xattrs, a.xattr_stream) != (b.owner, b.group, b.xattrs, b.xattr_stream):
        return False
    return a.is_dir or (a.mtime_ns, a.content) == (b.mtime_ns, b.content)


def _same_streams(a: Node | None, b: Node | None) -> bool:
    return a is not None and b is not None and (a.content, a.meta) == (b.content, b.meta)
