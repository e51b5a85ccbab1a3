"""Archives that vac and fossil wrote open here, and list and read as recorded."""

import hashlib
from collections.abc import AsyncIterator

import pytest

from fossil_fs.directory import Directory
from fossil_fs.format.mode import to_linux
from fossil_fs.node import Node
from fossil_fs.snapshot import open_snapshot
from tests.fossil_fs.kit import DictStore, load_archive, load_listing, run
from venti_store.hashtree.read import read

NAMES = ["vac", "vac-a", "vac-a2", "fossil"]


async def walk(directory: Directory, path: bytes = b"") -> AsyncIterator[tuple[bytes, Node]]:
    async for batch in directory.entries():
        for name, node in batch:
            yield path + b"/" + name, node
            if node.is_dir:
                async for found in walk(directory.child(node), path + b"/" + name):
                    yield found


async def listing(store: DictStore, score: bytes) -> dict[bytes, Node]:
    snapshot = await open_snapshot(store, score)  # type: ignore[arg-type]
    return {path: node async for path, node in walk(snapshot.directory())}


@pytest.mark.parametrize("name", NAMES)
def test_lists_as_recorded(name: str) -> None:
    store, score = load_archive(name)
    found = run(listing(store, score))
    rows = load_listing(name)
    assert sorted(found) == sorted(row["path"].encode() for row in rows)
    for row in rows:
        node = found[row["path"].encode()]
        assert node.mode == to_linux(int(row["mode(octal, vac bits)"], 8))
        assert (node.owner.decode(), node.group.decode()) == (row["uid"], row["gid"])
        assert node.mtime_ns == int(row["mtime"]) * 10**9
        assert node.qid == int(row["qid"])
        if node.content is None:
            assert row["size"] == "0"
        else:
            assert node.content.size == int(row["size"])
            assert node.content.score.hex() == row["top score"]
        if row["content sha256"] != "-":
            content = run(read(store, node.content, 0, node.size)) if node.content else b""
            assert hashlib.sha256(content).hexdigest() == row["content sha256"]
            assert node.size == len(content)
