"""The venti command as people and scripts meet it."""

import json
import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

from lib9.waiting import run_now
from tests.venti_store.kit import close, flip_byte, noise, put
from venti_store.cli.types import parse_type
from venti_store.kind import Kind
from venti_store.score import BLAKE3, SHA1
from venti_store.stores.lmdb.store import LmdbStore

VENTI = os.path.join(sysconfig.get_path("scripts"), "venti")


def venti(*args: str | Path, stdin: bytes = b"", status: int = 0) -> tuple[bytes, str]:
    done = subprocess.run([VENTI, *args], input=stdin, capture_output=True, check=False)
    assert done.returncode == status, done.stderr.decode()
    if status not in (0, 5):
        assert done.stderr.decode().startswith("venti: ")
        assert done.stderr.count(b"\n") == 1
    return done.stdout, done.stderr.decode()


@pytest.fixture
def store(home: Path) -> str:
    venti("init", home / "store")
    return str(home / "store")


def test_write_and_read(store: str) -> None:
    score = venti("write", "-s", store, stdin=b"hello\0\0")[0].decode()
    assert score == BLAKE3.score(b"hello\0\0").hex() + "\n"
    assert venti("read", "-s", store, score.strip())[0] == b"hello\0\0"
    short = venti("write", "-s", store, "-z", stdin=b"hello\0\0")[0].decode().strip()
    assert short == BLAKE3.score(b"hello").hex()
    assert venti("read", "-s", store, f"vac:{short.upper()}")[0] == b"hello"


def test_types(store: str) -> None:
    score = venti("write", "-s", store, "-t", "root", stdin=b"a root")[0].decode().strip()
    assert venti("read", "-s", store, score)[0] == b"a root"
    assert venti("read", "-s", store, "-t", "16", score)[0] == b"a root"
    error = venti("read", "-s", store, "-t", "data", score, status=4)[1]
    assert score in error
    venti("read", "-s", store, "-t", "leaf", score, status=2)
    assert [parse_type(t) for t in ("0", "1", "8", "9", "16", "data", "POINTER7")] == [
        Kind.DATA, Kind.POINTER1, Kind.DIRECTORY, Kind.POINTER1, Kind.ROOT, Kind.DATA,
        Kind.POINTER7,
    ]  # fmt: skip


def test_writing_makes_the_embedded_store_and_reading_does_not(home: Path) -> None:
    venti("read", BLAKE3.score(b"x").hex(), status=6)
    _, said = venti("write", stdin=b"x")
    assert str(home / "data" / "venti") in said
    assert venti("write", stdin=b"y")[1] == ""
    assert venti("read", BLAKE3.score(b"x").hex())[0] == b"x"


def test_the_environment_names_a_store(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("venti", store)
    venti("write", stdin=b"x")
    assert venti("read", "-s", store, BLAKE3.score(b"x").hex())[0] == b"x"


def test_sha1_stores(home: Path) -> None:
    out = json.loads(venti("init", "--hash", "sha1", "--json", home / "old")[0])
    assert out["hash"] == "sha1"
    score = venti("write", "-s", home / "old", stdin=b"x")[0].decode().strip()
    assert score == SHA1.score(b"x").hex()
    venti("read", "-s", home / "old", BLAKE3.score(b"x").hex(), status=6)
    venti("write", "-s", home / "old", stdin=bytes(56 * 1024 + 1), status=5)
    venti("write", "-s", home / "old", stdin=bytes((1 << 20) + 1), status=5)


def test_wrong_usage_and_places(store: str, home: Path) -> None:
    venti("init", store, status=6)
    venti("stat", "-s", home / "none", status=6)
    venti("stat", "-s", "tcp!localhost!1", status=6)
    venti("read", "-s", store, "xyz", status=2)
    venti("frobnicate", status=2)
    venti("check", "-s", store, "--rate", "fast", status=2)


def test_stat_and_ls(store: str) -> None:
    for data in (b"one", b"two " * 5000, b"one"):
        venti("write", "-s", store, stdin=data)
    figures = json.loads(venti("stat", "-s", store, "--json")[0])
    assert (figures["blocks"], figures["size"], figures["again"]) == (2, 20_003, 1)
    assert figures["types"]["data"]["stored"] < 1000
    text = venti("stat", "-s", store)[0].decode()
    assert "blake3" in text
    assert "19.5 KiB" in text
    lines = [json.loads(line) for line in venti("ls", "-s", store, "--json")[0].splitlines()]
    assert [(e["number"], e["type"], e["size"]) for e in lines] == [
        (1, "data", 3), (2, "data", 20_000),
    ]  # fmt: skip
    assert lines[0]["score"] == BLAKE3.score(b"one").hex()
    listed = venti("ls", "-s", store, "-n", "2")[0].decode().split()
    assert listed[:3] == ["2", "data", "20000"]


def test_check_names_what_is_bad_and_repairs_it_from_another_store(store: str, home: Path) -> None:
    venti("init", home / "other")
    opened = LmdbStore(store)
    keys = put(opened, *(noise(str(n)) for n in range(20)))
    run_now(opened.append_name(b"a name"))
    assert "good" in venti("check", "-s", store)[1]
    flip_byte(opened, noise("3"))
    flip_byte(opened, noise("11"))
    out, _ = venti("check", "-s", store, "--json", status=5)
    bad = [json.loads(line) for line in out.splitlines()]
    assert [b["score"] for b in bad] == [keys[3].score.hex(), keys[11].score.hex()]
    assert [b["number"] for b in bad] == [4, 12]

    other = LmdbStore(str(home / "other"))
    put(other, noise("3"))
    close(other)
    said = venti("check", "-s", store, "--repair", home / "other", status=5)[1]
    assert keys[11].score.hex() in said
    other = LmdbStore(str(home / "other"))
    put(other, noise("11"))
    close(other)
    venti("check", "-s", store, "--repair", home / "other", "--rate", "1G")
    assert "2 bad copies have a good one" in venti("check", "-s", store)[1]
    assert run_now(opened.get_many([keys[3], keys[11]])) == [noise("3"), noise("11")]
    close(opened)


def test_check_rebuilds_the_index(store: str) -> None:
    opened = LmdbStore(store)
    keys = put(opened, *(noise(str(n), 100) for n in range(20)))
    with opened.environment.env.begin(write=True) as txn:
        txn.drop(opened.environment.index, delete=False)
    out, said = venti("check", "-s", store, status=5)
    assert out.count(b"not in the index") == 20
    assert "--rebuild" in said
    assert "20 index entries set right" in venti("check", "-s", store, "--rebuild")[1]
    assert venti("check", "-s", store)[0] == b""
    assert len(run_now(opened.get_many(keys))) == 20
    close(opened)


def test_stdout_closed_early_is_no_traceback(store: str) -> None:
    opened = LmdbStore(store)
    put(opened, *(noise(str(n), 100) for n in range(3000)))
    close(opened)
    done = subprocess.run(
        f"{VENTI} ls -s {store} | head -n 1", shell=True, capture_output=True, check=False
    )
    assert done.stderr == b""
    assert done.stdout.startswith(b"1 data 100 ")
