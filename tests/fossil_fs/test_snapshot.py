"""Roots: written and opened again, in both forms; what makes no sense is refused."""

import os
import stat
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fossil_fs.content import place_xattrs, read_target, read_xattrs
from fossil_fs.directory import write_directory
from fossil_fs.format.direntry import SECTION_QID_SPACE, unpack_direntry
from fossil_fs.format.metablock import MAGIC, unpack_metablock
from fossil_fs.links import edit_links, write_links
from fossil_fs.node import Node, Owners
from fossil_fs.snapshot import open_snapshot, write_snapshot
from tests.fossil_fs.kit import FOSSIL, VAC, DictStore, load_archive, run
from tests.fossil_fs.nodes import nodes
from tests.fossil_fs.test_directory import FAMILIES, listed, small
from venti_store.errors import BadTree, NoSuchBlock
from venti_store.hashtree.build import build_tree
from venti_store.hashtree.entry import Entry, pack_entry, unpack_entry
from venti_store.hashtree.root import Root, pack_root, unpack_root
from venti_store.interfaces import Batch, Key
from venti_store.kind import Kind
from venti_store.score import BLAKE3, SHA1, Family, Score


def root_node(batch: Batch, entries: dict[bytes, Node], **more: object) -> Node:
    source, meta = write_directory(batch, sorted(entries.items()))
    node = Node(stat.S_IFDIR | 0o755, 1, 2, 3 * 10**9 + 7, 1, content=source, meta=meta)
    return replace(node, **more)  # type: ignore[arg-type]


@FAMILIES
@pytest.mark.parametrize("long_xattrs", [False, True])
def test_opens_what_was_written(family: Family, long_xattrs: bool) -> None:
    store, batch = DictStore(family), Batch(family)
    pairs = ((b"user.a", b"x" * (2000 if long_xattrs else 20)),)
    xattrs, stream = place_xattrs(batch, pairs)
    root = root_node(batch, {b"f": small(family, 3)}, xattrs=xattrs, xattr_stream=stream)
    prev = family.score(b"before")
    score = write_snapshot(batch, root, prev=prev, name=b"today")
    store.take(batch)
    store.reads = 0
    opened = run(open_snapshot(store, score))
    assert store.reads <= 4
    assert (opened.root, opened.prev, opened.name) == (root, prev, b"today")
    assert opened.classic == (family is SHA1)
    assert run(read_xattrs(store, opened.root)) == pairs
    assert run(listed(opened.directory())) == [(b"f", small(family, 3))]


def test_classic_root_is_as_fossil_wants_it() -> None:
    store, batch = DictStore(SHA1), Batch(SHA1)
    score = write_snapshot(batch, root_node(batch, {b"f": small(SHA1, 3)}))
    store.take(batch)
    (data,) = run(store.get_many([Key(score, Kind.ROOT)]))
    root = unpack_root(SHA1, data)
    assert (root.type, root.blocksize, root.prev) == (b"vac", 8192, SHA1.nothing)
    (leaf,) = run(store.get_many([Key(root.score, Kind.DIRECTORY)]))
    assert len(leaf) == 120
    assert [leaf[at + 8] for at in (0, 40, 80)] == [0x03, 0x01, 0x01]
    own = unpack_entry(SHA1, leaf[80:])
    assert own is not None
    assert own.size == 8192
    (block,) = run(store.get_many([Key(own.score, Kind.DATA)]))
    parsed = unpack_metablock(block, 8192)
    record = unpack_direntry(parsed.record(0))
    assert (parsed.magic, record.version, record.entry, record.mentry) == (MAGIC, 9, 0, 1)
    assert record.section(SECTION_QID_SPACE) == bytes(8) + (1 << 63).to_bytes(8, "big")


@given(
    st.dictionaries(st.integers(0, 2**64 - 1), nodes(BLAKE3, linked=True), max_size=5), st.data()
)
def test_links(inodes: dict[int, Node], data: st.DataObject) -> None:
    store, batch = DictStore(BLAKE3), Batch(BLAKE3)
    inodes = {number: replace(node, link=number) for number, node in inodes.items()}
    names = {b"%d" % n: inodes[key] for n, key in enumerate(inodes) for _ in range(2)}
    links = write_links(batch, sorted(inodes.items()))
    score = write_snapshot(batch, root_node(batch, names), links)
    store.take(batch)
    opened = run(open_snapshot(store, score))
    assert dict(run(listed(opened.directory()))) == names
    assert opened.links is not None
    for number, node in inodes.items():
        assert run(opened.links.lookup(number)) == node
    numbers = st.sampled_from(sorted(inodes)) if inodes else st.integers(0, 9)
    changes = data.draw(
        st.dictionaries(
            numbers | st.integers(0, 9), st.none() | nodes(BLAKE3, linked=True), max_size=3
        )
    )
    edited = run(edit_links(store, batch, links, changes))
    expected = {
        number: replace(node, link=number)
        for number, node in {**inodes, **changes}.items()
        if node is not None
    }
    assert edited == (write_links(batch, sorted(expected.items())) if expected else None)


GOLDEN = {
    "blake3": "7ae21eb12664d8adbc3770c490ce3afdf5024a6848e59a71326ed5c4d3271e39",
    "sha1": "53d339469b810eacb55fed8cf96d96c1195fae32",
}


@FAMILIES
def test_golden_tree(family: Family) -> None:
    """The bytes of trees are for ever: a score that differs here breaks every tree there is.

    The classic one was read by unvac and `vac -d` of plan9port.
    """
    batch = Batch(family)
    xattrs, stream = place_xattrs(batch, ((b"user.long", b"x" * 2000),))
    target = build_tree(batch, b"f", dsize=8192, psize=8192)
    inner = {b"%03d" % n: small(family, n) for n in range(300)}
    entries = {
        b"device": Node(stat.S_IFBLK | 0o600, rdev=os.makedev(8, 1)),
        b"dir": root_node(batch, inner),
        b"early": replace(small(family, 1), mtime_ns=-1),
        b"empty": Node(stat.S_IFREG | 0o4600),
        b"f": replace(small(family, 2), xattrs=((b"user.a", b"b"),)),
        b"late": replace(small(family, 1), mtime_ns=2**32 * 10**9),
        b"link": Node(stat.S_IFLNK | 0o777, size=1, content=target),
        b"long": replace(small(family, 3), xattrs=xattrs, xattr_stream=stream),
        b"pipe": Node(stat.S_IFIFO | 0o600),
        b"socket": Node(stat.S_IFSOCK | 0o600),
        b"\xff": small(family, 4),
    }
    links = None
    if family is BLAKE3:
        entries[b"linked"] = replace(small(family, 5), link=77, nlink=2)
        links = write_links(batch, [(77, entries[b"linked"])])
    score = write_snapshot(batch, root_node(batch, entries), links, name=b"golden")
    assert score.hex() == GOLDEN[family.name]


def test_one_change_of_many_links_is_one_record() -> None:
    store, batch = DictStore(BLAKE3), Batch(BLAKE3)
    inodes = {n: replace(small(BLAKE3, n), link=n, nlink=2) for n in range(5000)}
    links = write_links(batch, inodes.items())
    store.take(batch)
    store.reads, inodes[1234] = 0, replace(small(BLAKE3, 9), link=1234, nlink=2)
    edited = run(edit_links(store, batch, links, {1234: inodes[1234]}))
    assert store.reads <= 16
    assert len(batch.blocks) <= 4
    assert edited == write_links(batch, inodes.items())


def test_owners() -> None:
    store, score = load_archive("vac")
    owners = Owners(users={b"root": 0, b"vac": 12}, groups={b"vac": 13})
    opened = run(open_snapshot(store, score, owners=owners))
    assert (opened.root.uid, opened.root.gid, opened.root.owner) == (12, 13, b"vac")
    tree = run(opened.directory().lookup(b"tree"))
    assert tree is not None
    assert (tree.uid, tree.gid, tree.owner) == (0, 65534, b"root")


def test_targets_of_recorded_links() -> None:
    store, score = load_archive("vac")
    opened = run(open_snapshot(store, score))
    tree = run(opened.directory().lookup(b"tree"))
    assert tree is not None
    directory = opened.directory().child(tree)
    for name, target in ((b"link", b"hundred"), (b"longlink", b"a/long/t")):
        node = run(directory.lookup(name))
        assert node is not None
        assert run(read_target(store, node)) == target


def test_scores_of_the_recordings() -> None:
    for name, score in (("vac", VAC), ("fossil", FOSSIL)):
        assert load_archive(name)[1].hex() == score


def _root(store: DictStore, score: Score, **more: object) -> Score:
    root = Root(b"", b"vac", score, 8192, store.family.nothing)
    batch = Batch(store.family)
    found = batch.put(Kind.ROOT, pack_root(store.family, replace(root, **more)))  # type: ignore[arg-type]
    store.take(batch)
    return found


@FAMILIES
def test_refuses_what_is_no_tree(family: Family) -> None:
    store, batch = DictStore(family), Batch(family)
    good = root_node(batch, {})
    assert good.content is not None
    entries = {
        "nothing": [],
        "one": [good.content],
        "no record": [good.content, good.meta, build_tree(batch, b"", dsize=8192, psize=8192)],
        "rubbish": [good.content, good.meta, build_tree(batch, b"xyz" * 9, dsize=8192, psize=8192)],
        "a directory": [good.content, good.meta, good.content],
        "swapped": [good.meta, good.content, good.meta],
    }
    for slots in entries.values():
        leaf = b"".join(pack_entry(family, slot) for slot in slots).rstrip(b"\0")
        score = batch.put(Kind.DIRECTORY, leaf)
        store.take(batch)
        with pytest.raises(BadTree):
            run(open_snapshot(store, _root(store, score)))
    with pytest.raises(BadTree, match="type"):
        run(open_snapshot(store, _root(store, family.nothing, type=b"tar")))
    with pytest.raises(NoSuchBlock):
        run(open_snapshot(store, family.score(b"x")))
    with pytest.raises((BadTree, NoSuchBlock)):
        run(open_snapshot(store, family.nothing))


def test_a_loop_of_roots_ends() -> None:
    """A directory leaf that leads to itself cannot be; two levels of fossil's extra one are refused."""
    store, batch = DictStore(SHA1), Batch(SHA1)
    inner = pack_entry(SHA1, Entry(SHA1.nothing, 0, 8192, 8192, 0, True))
    for _ in range(3):
        score = batch.put(Kind.DIRECTORY, inner)
        inner = pack_entry(SHA1, Entry(score, 40, 8192, 8192, 0, True))
    store.take(batch)
    with pytest.raises(BadTree):
        run(open_snapshot(store, _root(store, score)))
