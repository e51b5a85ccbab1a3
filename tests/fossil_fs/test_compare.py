"""What differs between two trees, and that what is equal is not read."""

import stat
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fossil_fs.compare import Difference, compare, walk
from fossil_fs.directory import Directory, write_directory
from fossil_fs.find import NoSuchPath, NotADirectory, find
from fossil_fs.node import Node
from fossil_fs.snapshot import open_snapshot, write_snapshot
from fossil_fs.usage import Usage, UsageCounter
from tests.fossil_fs.kit import DictStore, run
from tests.fossil_fs.nodes import short_names
from tests.fossil_fs.test_directory import small
from venti_store.interfaces import Batch
from venti_store.score import BLAKE3

Tree = dict[bytes, "Tree | int"]
trees: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(short_names, st.integers(0, 3), max_size=3),
    lambda below: st.dictionaries(short_names, st.integers(0, 3) | below, max_size=3),
    max_leaves=8,
)


def put(batch: Batch, tree: Tree) -> Node:
    entries = {
        name: small(BLAKE3, below) if isinstance(below, int) else put(batch, below)
        for name, below in tree.items()
    }
    source, meta = write_directory(batch, sorted(entries.items()))
    return Node(stat.S_IFDIR | 0o755, content=source, meta=meta)


def opened(tree: Tree) -> tuple[DictStore, Node, Directory]:
    store, batch = DictStore(BLAKE3), Batch(BLAKE3)
    node = put(batch, tree)
    store.take(batch)
    return store, node, Directory(store, node.content, node.meta)


def paths(tree: Tree, above: bytes = b"") -> dict[bytes, int | None]:
    found: dict[bytes, int | None] = {}
    for name, below in sorted(tree.items()):
        found[above + name] = below if isinstance(below, int) else None
        if not isinstance(below, int):
            found |= paths(below, above + name + b"/")
    return found


async def differences(old: Directory | None, new: Directory | None) -> list[Difference]:
    return [difference async for difference in compare(old, new)]


@given(trees, trees)
def test_agrees_with_a_model(old: Tree, new: Tree) -> None:
    before, after = paths(old), paths(new)
    expected = {path for path in before | after if before.get(path, -1) != after.get(path, -1)}
    found = run(differences(opened(old)[2], opened(new)[2]))
    assert {difference.path for difference in found} == expected
    assert len(found) == len(expected)
    for difference in found:
        assert (difference.old is None) == (difference.path not in before)
        assert (difference.new is None) == (difference.path not in after)


@given(trees)
def test_walk_and_usage(tree: Tree) -> None:
    _, node, directory = opened(tree)

    async def walked() -> list[tuple[bytes, Node]]:
        return [item async for item in walk(directory)]

    found = run(walked())
    assert [path for path, _ in found] == list(paths(tree))
    sizes = [node.size for _, node in found if not node.is_dir]
    assert run(UsageCounter().count(node, directory)) == Usage(len(sizes), sum(sizes))


def test_equal_parts_are_not_read() -> None:
    tree: Tree = {b"d%03d" % n: {b"f%d" % k: n * 10 + k for k in range(5)} for n in range(200)}
    store, batch = DictStore(BLAKE3), Batch(BLAKE3)
    old = put(batch, tree)
    below = tree[b"d100"]
    assert isinstance(below, dict)
    new = put(batch, {**tree, b"d100": {**below, b"f9": 99999}})
    store.take(batch)
    sides = [Directory(store, node.content, node.meta) for node in (old, new)]
    store.reads = 0
    assert [d.path for d in run(differences(*sides))] == [b"d100/f9"]
    assert store.reads < 30
    counter = UsageCounter()
    assert run(counter.count(old, sides[0])).files == 1000
    store.reads = 0
    assert run(counter.count(new, sides[1])).files == 1001
    assert store.reads < 20


def test_deep_trees_do_not_recurse() -> None:
    store, batch = DictStore(BLAKE3), Batch(BLAKE3)
    node = small(BLAKE3, 1)
    for _ in range(1500):
        source, meta = write_directory(batch, [(b"d", node)])
        node = Node(stat.S_IFDIR | 0o755, content=source, meta=meta)
    store.take(batch)
    directory = Directory(store, node.content, node.meta)
    assert len(run(differences(None, directory))) == 1500
    assert run(UsageCounter().count(node, directory)) == Usage(1, 1)


def test_find() -> None:
    store, batch = DictStore(BLAKE3), Batch(BLAKE3)
    score = write_snapshot(batch, replace(put(batch, {b"a": {b"b": 7}}), qid=1))
    store.take(batch)
    snapshot = run(open_snapshot(store, score))
    assert run(find(snapshot, b""))[0] == snapshot.root
    assert run(find(snapshot, b"//a/b/"))[0] == small(BLAKE3, 7)
    for path, error in ((b"a/c", NoSuchPath), (b"a/b/c", NotADirectory), (b"a/..", NoSuchPath)):
        with pytest.raises(error):
            run(find(snapshot, path))
