"""The real programs of Plan 9 against our server, and our client against theirs.

Skipped unless $PLAN9 names a plan9port with `venti/*`, `vac` and `unvac` built.
"""

import filecmp
import hashlib
import os
import struct
import subprocess
from contextlib import ExitStack

import pytest
import trio

from tests import commands
from tests.contracts.block_store import blocks_of, keys_of
from tests.fossil_fs.kit import load_archive, load_listing
from tests.kit import nine
from tests.kit.plan9 import NEEDED, PLAN9, Programs, plan9_server
from tests.venti_store.test_serve import VENTI, Server
from venti_store.errors import NoSuchBlock
from venti_store.interfaces import Block, Key
from venti_store.kind import Kind
from venti_store.open import open_store
from venti_store.score import SHA1
from venti_store.stores.lmdb.environment import create

pytestmark = pytest.mark.skipif(
    not all((PLAN9 / "bin" / name).exists() for name in NEEDED), reason="no plan9port here"
)


@pytest.fixture
def ours(tmp_path, home):
    """Our server on a sha1 store."""
    create(str(tmp_path / "store"), SHA1)
    server = Server(tmp_path / "store", "--listen", "tcp!127.0.0.1!0")
    yield server.addresses[0]
    server.end()


@pytest.fixture
def theirs(tmp_path):
    """plan9port's server on small arenas."""
    (tmp_path / "arenas").mkdir()
    with plan9_server(tmp_path / "arenas") as address:
        yield address


@pytest.fixture
def tree(tmp_path):
    top = tmp_path / "tree"
    (top / "dir/deep").mkdir(parents=True)
    (top / "empty").write_bytes(b"")
    (top / "small").write_bytes(b"hello\n")
    (top / "dir/zeros").write_bytes(bytes(300_000))
    (top / "dir/deep/large").write_bytes(os.urandom(3_000_000))
    for n in range(200):
        (top / f"dir/deep/{n}").write_bytes(b"%d" % n * n)
    return top


def same(left, right):
    compared = filecmp.dircmp(left, right)
    assert not compared.left_only + compared.right_only + compared.diff_files
    for name in compared.common_dirs:
        same(left / name, right / name)


def test_blocks_written_and_read_by_real_programs(ours):
    run = Programs(ours)
    score = run("venti/write", data=b"hello world").stdout.decode().strip()
    assert score == "2aae6c35c94fcfb415dbe95f408b9ce91ee846ed"
    assert run("venti/read", score).stdout == b"hello world"
    assert run("venti/read", "-t", "0", score).stdout == b"hello world"
    assert run("venti/read", "-t", "16", score, check=False).returncode != 0
    assert run("venti/read", "0" * 39 + "1", check=False).returncode != 0


def test_real_vac_and_unvac_use_our_server(ours, tree, tmp_path):
    run = Programs(ours)
    run("vac", "-f", tmp_path / "a.vac", tree.name, cwd=tree.parent)
    out = tmp_path / "out"
    out.mkdir()
    run("unvac", tmp_path / "a.vac", cwd=out)
    same(tree, out / "tree")


def test_real_vacfs_serves_what_our_server_holds(ours, tree, tmp_path):
    run = Programs(ours)
    run("vac", "-f", tmp_path / "a.vac", tree.name, cwd=tree.parent)
    words = [PLAN9 / "bin/vacfs", "-i", tmp_path / "a.vac"]
    # -i: the files are served over standard input and output; the end of the input ends it
    with subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=run.environ,
    ) as process:
        try:
            server = nine.Reader(process.stdin, process.stdout)
        except (struct.error, BrokenPipeError):
            said = process.stderr.read()
            assert b"threadmaybackground" in said, said
            pytest.skip("this vacfs ends as it starts: it does not say threadmaybackground")
        found = dict(server.files())
        process.stdin.close()
    assert found == {
        os.fsencode(path.relative_to(tree.parent)): path.read_bytes()
        for path in tree.rglob("*")
        if path.is_file()
    }


def test_real_copy_goes_both_ways(ours, theirs, tree, tmp_path):
    here, there = Programs(ours), Programs(theirs)
    score = here("vac", tree.name, cwd=tree.parent).stdout.decode().strip()
    here("venti/copy", ours, theirs, score)
    (tmp_path / "a.vac").write_text(score + "\n")
    out = tmp_path / "out"
    out.mkdir()
    there("unvac", tmp_path / "a.vac", cwd=out)
    same(tree, out / "tree")


async def test_our_client_against_their_server(theirs):
    store = await open_store(theirs)
    assert store.family is SHA1
    blocks = blocks_of(SHA1, *(b"%d " % n * n for n in range(1, 300)), os.urandom(57344))
    await store.put_many(blocks)
    await store.sync()
    await store.aclose()
    store = await open_store(theirs)
    assert await store.get_many(keys_of(blocks)) == [block.data for block in blocks]
    gone = Key(SHA1.score(b"gone"), Kind.DATA)
    assert await store.have_many([gone, *keys_of(blocks)]) == [False] + [True] * 300
    with pytest.raises(NoSuchBlock):
        await store.get_many([gone])
    await store.aclose()


def test_our_copy_takes_a_tree_from_their_server(theirs, tree, tmp_path):
    there = Programs(theirs)
    score = there("vac", tree.name, cwd=tree.parent).stdout.decode().strip()
    create(str(tmp_path / "mine"), SHA1)
    subprocess.run([VENTI, "copy", theirs, tmp_path / "mine", score], check=True, timeout=60)
    server = Server(tmp_path / "mine", "--listen", "tcp!127.0.0.1!0")
    try:
        (tmp_path / "a.vac").write_text(score + "\n")
        out = tmp_path / "out"
        out.mkdir()
        Programs(server.addresses[0])("unvac", tmp_path / "a.vac", cwd=out)
        same(tree, out / "tree")
    finally:
        server.end()


@pytest.fixture
def mounted(tmp_path, home):
    """Mounts a root from a server."""
    point = tmp_path / "mnt"
    with ExitStack() as stack:

        def mount(address, score):
            return stack.enter_context(commands.mounted(score, point, "-s", address))

        yield mount


@pytest.mark.fuse
def test_a_real_archive_mounts_from_their_server(theirs, tree, mounted):
    there = Programs(theirs)
    score = there("vac", tree.name, cwd=tree.parent).stdout.decode().strip()
    top = mounted(theirs, score)
    same(tree, top / "tree")
    (top / "tree/new").write_text("written here\n")
    # what is saved lies on their server, for their programs
    (tree.parent / "b.vac").write_text(commands.output("fossil-save", top) + "\n")
    out = tree.parent / "out"
    out.mkdir()
    there("unvac", tree.parent / "b.vac", cwd=out)
    assert (out / "tree/new").read_text() == "written here\n"
    same(tree / "dir", out / "tree/dir")


@pytest.mark.fuse
def test_a_fossil_archive_mounts_from_their_server(theirs, mounted):
    recorded, score = load_archive("fossil")

    async def put():
        store = await open_store(theirs)
        await store.put_many(
            [Block(score, Kind(kind), data) for (score, kind), data in recorded.blocks.items()]
        )
        await store.sync()
        await store.aclose()

    trio.run(put)
    top = mounted(theirs, score.hex())
    for row in load_listing("fossil"):
        path = top / row["path"].lstrip("/")
        if row["content sha256"] != "-":
            assert hashlib.sha256(path.read_bytes()).hexdigest() == row["content sha256"]
        else:
            assert path.exists()


def test_a_blake3_store_says_why_it_cannot_serve_them(tmp_path, home):
    from venti_store.score import BLAKE3

    create(str(tmp_path / "b3"), BLAKE3)
    server = Server(tmp_path / "b3", "--listen", "tcp!127.0.0.1!0")
    done = Programs(server.addresses[0])("venti/read", "0" * 40, check=False)
    assert done.returncode != 0
    _, errors = server.end()
    assert "no common version: the peer has 04, 02, this side b1" in errors
