"""fossil-ls, -cat, -log and -diff as real processes, on recorded archives and on trees of our own."""

import hashlib
import json
import os
import re
import stat
import subprocess
import sysconfig
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fossil_fs.content import place_xattrs
from fossil_fs.directory import write_directory
from fossil_fs.format.direntry import pack_direntry, unpack_direntry
from fossil_fs.links import write_links
from fossil_fs.node import Node
from fossil_fs.snapshot import write_snapshot
from lib9.waiting import run_now
from tests.fossil_fs.kit import ARCHIVES, DictStore, load_archive, load_listing
from tests.fossil_fs.test_directory import small
from venti_store.hashtree.build import build_tree
from venti_store.interfaces import Batch, Block
from venti_store.kind import Kind
from venti_store.names.local import LocalNames, names_file
from venti_store.score import BLAKE3, SHA1, Family, Score
from venti_store.stores.lmdb.environment import create
from venti_store.stores.lmdb.store import LmdbStore

SCRIPTS = Path(sysconfig.get_path("scripts"))
Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def command(home: Path) -> Run:
    def run(*words: str | bytes, status: int = 0) -> "subprocess.CompletedProcess[bytes]":
        program, *rest = words
        environment = {**os.environ, "TZ": "UTC", "venti": str(home / "store")}
        done = subprocess.run(
            [SCRIPTS / os.fsdecode(program), *rest],
            capture_output=True,
            check=False,
            env=environment,
        )
        assert done.returncode == status, done.stderr.decode()
        assert not (status == 0 and done.stderr), done.stderr.decode()
        return done

    return run


def keep(home: Path, family: Family, blocks: list[Block]) -> None:
    path = home / "store"
    if not path.exists():
        create(str(path), family)
    store = LmdbStore(str(path))
    run_now(store.put_many(blocks))
    run_now(store.aclose())


def keep_archive(home: Path, name: str) -> str:
    store, score = load_archive(name)
    blocks = [Block(key, Kind(kind), data) for (key, kind), data in store.blocks.items()]
    keep(home, SHA1, blocks)
    return score.hex()


def keep_tree(
    home: Path, entries: dict[bytes, Node], batch: Batch, prev: Score | None = None, **more: object
) -> Score:
    source, meta = write_directory(batch, sorted(entries.items()))
    root = Node(stat.S_IFDIR | 0o755, 0, 0, 1600000000 * 10**9, 1, content=source, meta=meta)
    score = write_snapshot(batch, root, prev=prev, name=b"tree", **more)  # type: ignore[arg-type]
    keep(home, batch.family, batch.take())
    return score


RECORDED = re.compile(rb"(.)(.)(.{9}) (\S+) +(\S+) +(\d+) (\S+ \S+) (.*)")


def test_long_listing_says_what_unvac_says(home: Path, command: Run) -> None:
    score = keep_archive(home, "vac")
    ours = {}
    for line in command("fossil-ls", "-lR", score).stdout.splitlines():
        mode, owner, group, size, day, minute, path = line.split(None, 6)
        path = path.partition(b" -> ")[0]
        ours[path] = (mode, owner, group, size, b"%s %s" % (day, minute))
    theirs = {}
    for line in (ARCHIVES / "unvac-tv.txt").read_bytes().splitlines():
        match = RECORDED.fullmatch(line)
        assert match is not None
        letter = b"l" if match[2] == b"L" else match[1]
        theirs[match[8]] = (letter + match[3], *match.group(4, 5, 6, 7))
    assert ours == theirs


@pytest.mark.parametrize("name", ["vac", "vac-a2", "fossil"])
def test_json_listing_and_contents(home: Path, command: Run, name: str) -> None:
    score = keep_archive(home, name)
    found = [
        json.loads(line)
        for line in command("fossil-ls", "-R", "--json", f"vac:{score}").stdout.splitlines()
    ]
    rows = {row["path"]: row for row in load_listing(name)}
    assert {"/" + value["path"] for value in found} == set(rows)
    paths = (
        ["/active/tree/twentyk"]
        if name == "fossil"
        else [p for p in rows if "f1" in p or "one" in p]
    )
    for path in paths[:4]:
        data = command("fossil-cat", f"{score}:{path}").stdout
        assert hashlib.sha256(data).hexdigest() == rows[path]["content sha256"]
        assert str(len(data)) == rows[path]["size"]


def test_paths_within_a_tree(home: Path, command: Run) -> None:
    score = keep_archive(home, "vac")
    assert command("fossil-ls", f"{score}:tree/dir").stdout.splitlines() == [
        b"many",
        "utf8-é中".encode(),
    ]
    assert command("fossil-ls", f"{score}:/tree//hundred/").stdout == b"hundred\n"
    assert command("fossil-ls", "-l", f"{score}:tree/link").stdout.endswith(b"link -> hundred\n")
    assert b"no such file" in command("fossil-ls", f"{score}:tree/none", status=4).stderr
    assert b"not a directory" in command("fossil-ls", f"{score}:tree/a/b", status=1).stderr
    assert b"not a file" in command("fossil-cat", f"{score}:tree", status=2).stderr


def test_names_and_kinds_of_our_own(home: Path, command: Run) -> None:
    batch = Batch(BLAKE3)
    linked = replace(small(BLAKE3, 5), link=9, nlink=2)
    entries = {
        b"\xff\n": small(BLAKE3, 1),
        b"char": Node(stat.S_IFCHR | 0o600, rdev=os.makedev(4, 5)),
        b"one": linked,
        b"two": linked,
    }
    links = write_links(batch, [(9, linked)])
    xattrs, stream = place_xattrs(batch, ((b"user.x", bytes(5000)),))
    entries[b"xattr"] = replace(small(BLAKE3, 2), xattrs=xattrs, xattr_stream=stream)
    score = keep_tree(home, entries, batch, links=links).hex()
    assert command("fossil-ls", score).stdout == b"char\none\ntwo\nxattr\n\xff\n\n"
    long = command("fossil-ls", "-l", score).stdout.splitlines()
    assert long[0].split()[:5] == [b"crw-------", b"0", b"0", b"4,", b"5"]
    values = [
        json.loads(line) for line in command("fossil-ls", "--json", score).stdout.splitlines()
    ]
    assert os.fsencode(values[4]["path"]) == b"\xff\n"
    assert values[0]["device"] == [4, 5]
    assert [value.get("link") for value in values] == [None, 9, 9, None, None]
    assert values[1]["nlink"] == 2


def test_history(home: Path, command: Run) -> None:
    batch = Batch(BLAKE3)
    entries = {b"a": small(BLAKE3, 1)}
    missing = BLAKE3.score(b"gone")
    first = keep_tree(home, entries, batch, prev=missing)
    second = keep_tree(home, entries | {b"b": small(BLAKE3, 22)}, batch, prev=first)
    lines = command("fossil-log", second.hex()).stdout.decode().splitlines()
    assert lines == [
        f"vac:{second.hex()} 2020-09-13 12:26 2 files 3 bytes tree",
        f"vac:{first.hex()} 2020-09-13 12:26 1 file 1 byte tree",
        f"vac:{missing.hex()} earlier root not here",
    ]
    assert len(command("fossil-log", "-n1", "-q", second.hex()).stdout.splitlines()) == 1
    values = [
        json.loads(v) for v in command("fossil-log", "--json", second.hex()).stdout.splitlines()
    ]
    assert [value.get("files") for value in values] == [2, 1, None]
    assert values[2] == {"missing": f"vac:{missing.hex()}"}
    command("fossil-log", missing.hex(), status=4)


def test_names_of_trees(home: Path, command: Run) -> None:
    batch = Batch(BLAKE3)
    first = keep_tree(home, {b"a": small(BLAKE3, 1)}, batch)
    second = keep_tree(home, {b"b": small(BLAKE3, 2)}, batch, prev=first)
    names = LocalNames(names_file(os.environ), "me")
    names.record("host", first, 86400 * 1_000_000)
    names.record("host", second, 2 * 86400 * 1_000_000)
    assert command("fossil-ls", "host").stdout == b"b\n"
    assert command("fossil-ls", "host~1:").stdout == b"a\n"
    lines = command("fossil-log", "host").stdout.decode().splitlines()
    assert [" ".join(line.split()[1:3]) for line in lines] == [
        "1970-01-03 00:00",
        "1970-01-02 00:00",
    ]
    assert command("fossil-diff", "host~1", "host").stdout == b"- a 1\n+ b 1\n"
    command("fossil-ls", "other", status=4)


def test_recorded_history(home: Path, command: Run) -> None:
    newest = keep_archive(home, "vac-a2")
    before = load_archive("vac-a")[1].hex()
    lines = command("fossil-log", "-q", newest).stdout.decode().splitlines()
    assert lines[-1] == f"vac:{before} earlier root not here"
    keep_archive(home, "vac-a")
    lines = command("fossil-log", newest).stdout.decode().splitlines()
    assert [line.split()[0] for line in lines] == [f"vac:{newest}", f"vac:{before}"]


def test_differences(home: Path, command: Run) -> None:
    batch = Batch(BLAKE3)
    streams = write_directory(batch, [(b"deep", small(BLAKE3, 333))])
    folder = Node(stat.S_IFDIR | 0o755, content=streams[0], meta=streams[1])
    entries = {
        b"same": small(BLAKE3, 1),
        b"dir": folder,
        b"c": small(BLAKE3, 2),
        b"m": small(BLAKE3, 3),
    }
    old = keep_tree(home, entries, batch).hex()
    entries |= {
        b"c": small(BLAKE3, 4444),
        b"new": folder,
        b"m": replace(entries[b"m"], mode=0o100600),
    }
    del entries[b"dir"]
    new = keep_tree(home, entries, batch).hex()
    assert command("fossil-diff", old, new).stdout.decode().splitlines() == [
        "~ c 1 -> 4",
        "- dir/ 0",
        "- dir/deep 3",
        "~ m 1 attributes",
        "+ new/ 0",
        "+ new/deep 3",
    ]
    values = [json.loads(v) for v in command("fossil-diff", "--json", old, new).stdout.splitlines()]
    assert [value["change"] for value in values].count("removed") == 2
    assert (values[0]["old_size"], values[0]["new_size"]) == (1, 4)
    assert command("fossil-diff", new, new).stdout == b""
    assert command("fossil-diff", f"{old}:dir", f"{new}:new").stdout == b""
    assert command("fossil-diff", f"{old}:c", f"{new}:c").stdout == b"~ c 1 -> 4\n"
    assert b"hash" in command("fossil-diff", old, "00" * 20, status=6).stderr


def test_wrong_store_or_score(home: Path, command: Run) -> None:
    keep(home, BLAKE3, [])
    for words, status in (
        (["fossil-ls", "ab" * 20], 6),
        (["fossil-ls", "ab" * 32], 4),
        (["fossil-ls", "--store", str(home / "none"), "ab" * 32], 6),
    ):
        assert command(*words, status=status).stderr.count(b"\n") == 1


def test_a_bad_name_is_told_and_the_rest_listed(home: Path, command: Run) -> None:
    batch = Batch(BLAKE3)
    score = keep_tree(home, {b"bad": small(BLAKE3, 1), b"good": small(BLAKE3, 2)}, batch)
    store = DictStore(BLAKE3)
    entries = {b"bad": small(BLAKE3, 1), b"good": small(BLAKE3, 2)}
    source, meta = write_directory(batch, sorted(entries.items()))
    store.take(batch)
    block = store.blocks[meta.score, Kind.DATA]
    at = block.index(b"bad")
    record = block[at - 8 :]
    entry = unpack_direntry(record[: record.index(b"\x1c\x4d\x90\x72", 8)])
    spoilt = block.replace(pack_direntry(entry), pack_direntry(replace(entry, entry=77)))
    meta = build_tree(batch, spoilt.ljust(8192, b"\0"), dsize=8192, psize=8192)
    root = Node(stat.S_IFDIR | 0o755, content=source, meta=meta)
    score = write_snapshot(batch, root)
    keep(home, BLAKE3, batch.take())
    done = command("fossil-ls", score.hex(), status=3)
    assert done.stdout == b"good\n"
    assert done.stderr == b"fossil-ls: bad: nothing in slot 77\n"
