"""`venti copy` as a process: it needs to know nothing of files to bring every byte of them along."""

import json
import os
import random
import shutil
import stat
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from fossil_fs.content import place_xattrs, read_target, read_xattrs
from fossil_fs.directory.write import write_directory
from fossil_fs.links import write_links
from fossil_fs.node import Node
from fossil_fs.snapshot import open_snapshot, write_snapshot
from lib9.waiting import run_now
from tests.venti_store.hashtree.support import recorded
from venti_store.hashtree.build import build_tree
from venti_store.hashtree.entry import pack_entry
from venti_store.hashtree.read import read
from venti_store.hashtree.root import Root, pack_root, unpack_root
from venti_store.hashtree.slots import unpack_leaf
from venti_store.interfaces import Batch, Block
from venti_store.kind import Kind
from venti_store.score import BLAKE3, SHA1, Family, Score
from venti_store.stores.lmdb.environment import create
from venti_store.stores.lmdb.store import LmdbStore

VENTI = Path(sysconfig.get_path("scripts")) / "venti"

WITHOUT_FILES = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("fossil_fs", "replicator", "hubfs", "spawngrid"):
            raise ImportError(f"{name} is not to be imported")

sys.meta_path.insert(0, Blocked())
try:
    import fossil_fs
except ImportError:
    pass
else:
    sys.exit("fossil_fs was imported")
from venti_store.cli.venti import run
sys.exit(run())
"""


def copy(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_FILES, "copy", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


def make_store(path: Path, family: Family, blocks: list[Block]) -> Path:
    create(str(path), family)
    store = LmdbStore(str(path))
    run_now(store.put_many(blocks))
    run_now(store.aclose())
    return path


CONTENT = b"".join(b"%d " % n for n in range(60_000))
XATTRS = ((b"user.long", b"x" * 5000), (b"user.more", b"y" * 9000))


def archive(batch: Batch) -> Score:
    """A tree with whatever keeps bytes apart from a file's own stream."""
    stream = build_tree(batch, CONTENT, dsize=65536, psize=8192)
    target = build_tree(batch, b"where/it/points", dsize=65536, psize=8192)
    inline, xattr_stream = place_xattrs(batch, XATTRS)
    assert not inline
    assert xattr_stream is not None
    linked = Node(stat.S_IFREG | 0o600, qid=5, size=stream.size, content=stream, nlink=2)
    names = [
        (b"first", Node(stat.S_IFREG, qid=5, link=0)),
        (b"second", Node(stat.S_IFREG, qid=5, link=0)),
        (b"symlink", Node(stat.S_IFLNK | 0o777, qid=6, size=15, content=target)),
        (b"xattrs", Node(stat.S_IFREG | 0o644, qid=7, xattr_stream=xattr_stream)),
    ]
    inner = write_directory(batch, names)
    folder = Node(stat.S_IFDIR | 0o755, qid=2, content=inner[0], meta=inner[1])
    top = write_directory(batch, [(b"dir", folder)])
    root = Node(stat.S_IFDIR | 0o755, qid=1, content=top[0], meta=top[1])
    return write_snapshot(batch, root, write_links(batch, [(0, linked)]))


async def read_all(store: LmdbStore, score: Score) -> None:
    snapshot = await open_snapshot(store, score)
    top = snapshot.directory()
    found = await top.lookup(b"dir")
    assert found is not None
    folder = top.child(found)
    names = {name: node async for batch in folder.entries() for name, node in batch}
    assert list(names) == [b"first", b"second", b"symlink", b"xattrs"]
    for name in (b"first", b"second"):
        content = names[name].content
        assert content is not None
        assert await read(store, content, 0, len(CONTENT) + 1) == CONTENT
    assert await read_target(store, names[b"symlink"]) == b"where/it/points"
    assert await read_xattrs(store, names[b"xattrs"]) == XATTRS


def test_a_copy_made_without_knowing_files_has_all_of_them(tmp_path: Path) -> None:
    batch = Batch(BLAKE3)
    score = archive(batch)
    source = make_store(tmp_path / "a", BLAKE3, batch.take())
    destination = make_store(tmp_path / "b", BLAKE3, [])
    done = copy(source, destination, score.hex(), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["holes"] == 0
    shutil.rmtree(source)
    store = LmdbStore(str(destination))
    run_now(read_all(store, score))
    run_now(store.aclose())


def test_all_copies_the_log_in_its_order(tmp_path: Path) -> None:
    batch = Batch(BLAKE3)
    score = archive(batch)
    source = make_store(tmp_path / "a", BLAKE3, batch.take())
    destination = make_store(tmp_path / "b", BLAKE3, [])
    assert copy(source, destination, "--all").returncode == 0
    store, other = LmdbStore(str(destination)), LmdbStore(str(source))
    run_now(read_all(store, score))
    assert [r.score for r in store.log()] == [r.score for r in other.log()]
    run_now(store.aclose())
    run_now(other.aclose())


def test_an_archive_of_plan_9_is_copied_and_its_missing_past_is_told(tmp_path: Path) -> None:
    recording = recorded("vac-a2-blocks")
    blocks = [Block(key.score, key.kind, data) for key, data in recording.blocks.items() if data]
    score = next(key.score for key in recording.blocks if key.kind is Kind.ROOT)
    source = make_store(tmp_path / "a", SHA1, blocks)
    destination = make_store(tmp_path / "b", SHA1, [])
    done = copy(source, destination, f"vac:{score.hex()}")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith(f"venti: {len(set(blocks))} blocks, ")
    done = copy(source, destination, score.hex(), "--history")
    assert done.returncode == 3
    missing, summary = done.stderr.splitlines()
    assert "012dd9148bcc9692f47013a025316959d70cc817" in missing
    assert summary.endswith("1 missing")


def test_holes_are_named_and_the_exit_status_says_so(tmp_path: Path) -> None:
    batch = Batch(BLAKE3)
    score = archive(batch)
    blocks = batch.take()
    lost = next(block for block in blocks if block.kind is Kind.DATA)
    source = make_store(tmp_path / "a", BLAKE3, [b for b in blocks if b != lost])
    destination = make_store(tmp_path / "b", BLAKE3, [])
    done = copy(source, destination, score.hex())
    assert done.returncode == 3
    assert lost.score.hex() in done.stderr
    store = LmdbStore(str(destination))
    assert not any(record.kind is Kind.ROOT for record in store.log())
    run_now(store.aclose())
    mended = make_store(tmp_path / "c", BLAKE3, blocks)
    assert copy(mended, destination, score.hex()).returncode == 0
    store = LmdbStore(str(destination))
    run_now(read_all(store, score))
    run_now(store.aclose())


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        (["b", "0" * 64], 6, "stores differ in hash: blake3 and sha1"),
        (["c", "1" * 64], 4, "1111"),
        (["c", "1" * 40], 2, "64 hex digits"),
        (["c"], 2, "SCORE"),
        (["c", "--all", "1" * 64], 2, "not both"),
        (["c", "--all", "--history"], 2, "--all"),
        (["nowhere", "1" * 64], 6, "nowhere"),
    ],
)
def test_what_cannot_be_copied_says_why(
    tmp_path: Path, words: list[str], status: int, why: str
) -> None:
    make_store(tmp_path / "a", BLAKE3, [])
    make_store(tmp_path / "b", SHA1, [])
    make_store(tmp_path / "c", BLAKE3, [])
    done = copy(tmp_path / "a", tmp_path / words[0], *words[1:])
    assert done.returncode == status, done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("venti")
    assert why in line


def venti(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([VENTI, *map(str, words)], capture_output=True, text=True, check=False)


def test_a_tree_is_checked_and_mended(tmp_path: Path) -> None:
    batch = Batch(BLAKE3)
    score = archive(batch)
    blocks = batch.take()
    lost = [block for block in blocks if block.kind is Kind.DATA][3]
    whole = make_store(tmp_path / "a", BLAKE3, blocks)
    holed = make_store(tmp_path / "b", BLAKE3, [b for b in blocks if b != lost])
    done = venti("check", "-s", whole, score.hex())
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith("whole\n")
    done = venti("check", "-s", holed, "--json", score.hex(), "--history")
    assert done.returncode == 5
    assert json.loads(done.stdout)["score"] == lost.score.hex()
    assert done.stderr.endswith("1 missing\n")
    assert venti("copy", "--full", whole, holed, score.hex()).returncode == 0
    assert venti("check", "-s", holed, score.hex()).returncode == 0
    assert venti("check", "-s", holed, score.hex(), "--rebuild").returncode == 2
    assert venti("check", "-s", holed, "--history").returncode == 2


def closed(store: LmdbStore) -> bool:
    """Tell whether each block of the log comes after those that it points to."""
    seen: set[Score] = {store.family.nothing}
    for record in store.log():
        data, size = record.data, store.family.size
        if record.kind is Kind.DIRECTORY:
            wanted = {e.score for e in unpack_leaf(store.family, data, 65536) if e is not None}
        elif record.kind is Kind.ROOT:
            wanted = {unpack_root(store.family, data).score}
        elif record.kind in (None, Kind.DATA):
            wanted = set()
        else:
            wanted = {Score(data[at : at + size]) for at in range(0, len(data), size)}
        if not wanted <= seen:
            return False
        seen.add(record.score)
    return True


@pytest.mark.parametrize("after", [1, 300, 1500])
def test_killed_at_any_moment_it_leaves_no_tree_with_holes(tmp_path: Path, after: int) -> None:
    batch = Batch(BLAKE3)
    folders = []
    for n in range(20):
        text = random.Random(n).randbytes(800_000)
        files = [
            build_tree(batch, text[at : at + 9000], dsize=4096, psize=256)
            for at in range(0, len(text), 9000)
        ]
        packed = b"".join(pack_entry(BLAKE3, entry) for entry in files)
        folders.append(build_tree(batch, packed, dsize=256, psize=256, directory=True))
    packed = b"".join(pack_entry(BLAKE3, entry) for entry in folders)
    top = build_tree(batch, packed, dsize=256, psize=256, directory=True)
    leaf = batch.put(Kind.DIRECTORY, pack_entry(BLAKE3, top))
    root = Root(b"", b"vac", leaf, 4096, BLAKE3.nothing)
    score = batch.put(Kind.ROOT, pack_root(BLAKE3, root))
    source = make_store(tmp_path / "a", BLAKE3, batch.take())
    destination = make_store(tmp_path / "b", BLAKE3, [])
    store = LmdbStore(str(destination))
    process = subprocess.Popen(
        [VENTI, "copy", source, destination, score.hex()], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while store.last_number() < after and process.poll() is None:
        assert time.monotonic() < deadline
    process.kill()
    process.wait()
    assert closed(store)
    assert venti("copy", source, destination, score.hex()).returncode == 0
    assert closed(store)
    assert venti("check", "-s", destination, score.hex()).stderr.endswith("whole\n")
    run_now(store.aclose())


def test_options_may_stand_anywhere(tmp_path: Path) -> None:
    batch = Batch(BLAKE3)
    score = archive(batch)
    source = make_store(tmp_path / "a", BLAKE3, batch.take())
    destination = make_store(tmp_path / "b", BLAKE3, [])
    assert copy("--full", source, "--history", destination, "--json", score.hex()).returncode == 0


def test_the_script_has_the_word() -> None:
    done = subprocess.run([VENTI, "copy", "--help"], capture_output=True, text=True, check=True)
    assert "--above-holes" in done.stdout
    assert os.path.exists(VENTI)
