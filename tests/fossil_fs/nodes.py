"""Hypothesis strategies for names, nodes and directories."""

import os
import stat

from hypothesis import strategies as st

from fossil_fs.format.xattrs import Xattrs
from fossil_fs.node import Node
from venti_store.hashtree.entry import Entry
from venti_store.score import Family

U32 = st.integers(0, 2**32 - 1)
names = st.binary(min_size=1, max_size=255).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)
short_names = st.text("abc", min_size=1, max_size=4).map(str.encode)
types = st.sampled_from(
    [
        stat.S_IFREG,
        stat.S_IFLNK,
        stat.S_IFDIR,
        stat.S_IFCHR,
        stat.S_IFBLK,
        stat.S_IFIFO,
        stat.S_IFSOCK,
    ]
)
xattr_pairs = st.dictionaries(
    st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name),
    st.binary(max_size=60),
    max_size=4,
).map(lambda pairs: tuple(sorted(pairs.items())))


def streams(
    family: Family, *, directory: bool = False, size_min: int = 1
) -> st.SearchStrategy[Entry]:
    return st.builds(
        Entry,
        st.binary(min_size=family.size, max_size=family.size),
        st.integers(size_min, 8192),
        st.just(8192),
        st.just(8192),
        st.just(0),
        st.just(directory),
    )


@st.composite
def nodes(draw: st.DrawFn, family: Family, *, linked: bool = False) -> Node:
    """A node that comes back as it is from a directory; `linked`: an inode of the links."""
    kind = draw(types.filter(lambda kind: not linked or kind != stat.S_IFDIR))
    sized = kind in (stat.S_IFREG, stat.S_IFLNK)
    content = meta = None
    if kind == stat.S_IFDIR:
        content, meta = draw(streams(family, directory=True)), draw(streams(family))
    elif sized:
        content = draw(st.none() | streams(family))
    long = draw(st.booleans())
    xattrs: Xattrs = () if long else draw(xattr_pairs)
    classic = family.size == 20
    owner = draw(st.sampled_from([b"", b"glenda", b"\xff"])) if classic else b""
    device = kind in (stat.S_IFCHR, stat.S_IFBLK)
    return Node(
        kind | draw(st.integers(0, 0o7777)),
        draw(U32),
        draw(U32),
        draw(st.integers(-(2**62), 2**80) | st.integers(0, 2**61)),
        draw(st.integers(0, 2**63 - 1)),
        content.size if sized and content else 0,
        os.makedev(draw(st.integers(0, 0xFFF)), draw(st.integers(0, 0xFFFFF))) if device else 0,
        content,
        meta,
        xattrs,
        draw(streams(family)) if long else None,
        nlink=draw(st.integers(1, 1000)) if linked else 1,
        owner=owner,
        group=owner,
        qid_offset=draw(st.integers(0, 2**32)) if classic and kind == stat.S_IFDIR else 0,
    )


def stubs() -> st.SearchStrategy[Node]:
    """Names of linked inodes, as a directory gives them without links."""
    return st.builds(
        lambda kind, qid, link: Node(kind, qid=qid, link=link),
        types.filter(lambda kind: kind != stat.S_IFDIR),
        st.integers(0, 2**63 - 1),
        st.integers(0, 2**64 - 1),
    )
