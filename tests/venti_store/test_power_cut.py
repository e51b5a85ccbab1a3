"""A power cut at any moment: what the disk may then hold is a whole store with all that was synced.

A program's writes to the store are recorded by strace. Of a moment, the disk surely has what was
written before the last fdatasync that returned, and of later writes any pages, in any order.
"""

import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lib9.waiting import run_now
from tests.venti_store.kit import close, noise, scrub
from venti_store.interfaces import Key
from venti_store.kind import Kind
from venti_store.score import BLAKE3
from venti_store.stores.lmdb.environment import create
from venti_store.stores.lmdb.store import LmdbStore

PAGE = 4096
ROUNDS = 30
SYNC_EVERY = 5  # rounds; each is a commit of its own

WRITING = """
import sys, time
from lib9.waiting import run_now
from tests.venti_store.kit import noise
from venti_store.interfaces import Block
from venti_store.kind import Kind
from venti_store.score import BLAKE3
from venti_store.stores.lmdb.store import LmdbStore
from venti_store.stores.lmdb import writer
writer.LINGER_SECONDS = 0
store = LmdbStore(sys.argv[1])
rounds, sync_every = int(sys.argv[2]), int(sys.argv[3])
for n in range(1, rounds + 1):
    data = noise(str(n), 200 * n)
    run_now(store.put_many([Block(BLAKE3.score(data), Kind.DATA, data)]))
    while store.last_number() < n:
        time.sleep(0.001)
    if n % sync_every == 0:
        run_now(store.sync())
        print(n, flush=True)
"""

_CALL = re.compile(r"^\d+ +(\w+)\(\d+<([^>]*)>(.*)\) += (\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass
class Write:
    offset: int
    data: bytes


def recorded(path: Path, store: str) -> Iterator[Write | str | int]:
    """Give what happened: a Write to the store's file, "sync", or the round that was synced."""
    position = 0
    for line in path.read_text().splitlines():
        assert "unfinished" not in line, line
        found = _CALL.match(line)
        if found is None:
            continue
        call, file, rest, result = found.groups()
        if file.startswith("\\x"):  # some versions of strace print paths as they print strings
            file = _bytes(file).decode()
        data = b"".join(map(_bytes, _TEXT.findall(rest)))
        if file == f"{store}/data.mdb" and call == "fdatasync":
            yield "sync"
        elif file == f"{store}/data.mdb" and call == "lseek":
            position = int(result)
        elif file == f"{store}/data.mdb":
            assert len(data) == int(result), line[:200]
            yield Write(int(rest.rsplit(", ", 1)[1]) if call[0] == "p" else position, data)
        elif call == "write" and data.strip().isdigit():
            yield int(data)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def pages(write: Write) -> Iterator[Write]:
    """Cut a write into what a disk does as one."""
    at = 0
    while at < len(write.data):
        size = PAGE - (write.offset + at) % PAGE
        yield Write(write.offset + at, write.data[at : at + size])
        at += size


def apply(image: bytearray, write: Write) -> None:
    end = write.offset + len(write.data)
    image.extend(bytes(max(0, end - len(image))))
    image[write.offset : end] = write.data


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace")
def test_a_power_cut_leaves_a_whole_store(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    create(store, BLAKE3)
    durable = bytearray((tmp_path / "store" / "data.mdb").read_bytes())
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-y", "-xx", "-s", "10000000", "-o", str(trace)]
    command += ["-e", "trace=pwrite64,pwritev,lseek,writev,fdatasync,write,ftruncate"]
    command += [sys.executable, "-c", WRITING, store, str(ROUNDS), str(SYNC_EVERY)]
    done = subprocess.run(command, capture_output=True, check=False)
    if b"ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr

    chance = random.Random(1)
    since: list[Write] = []
    synced = cuts = 0
    for event in recorded(trace, store):
        if isinstance(event, int):
            synced = event
        elif event == "sync":
            for write in since:
                apply(durable, write)
            since.clear()
        elif isinstance(event, Write):
            since += pages(event)
        for _ in range(2):
            image = bytearray(durable)
            keep = chance.choice([0.0, 0.3, 0.7, 1.0])
            kept = [write for write in since if chance.random() <= keep]
            chance.shuffle(kept)
            for write in kept:
                apply(image, write)
            check_image(tmp_path / "cut", image, synced)
            cuts += 1
    assert synced == ROUNDS
    assert cuts > 4 * ROUNDS


def check_image(folder: Path, image: bytearray, synced: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "data.mdb").write_bytes(image)
    store = LmdbStore(str(folder))
    assert scrub(store) == []
    assert store.last_number() >= synced
    keys = [Key(BLAKE3.score(noise(str(n), 200 * n)), Kind.DATA) for n in range(1, synced + 1)]
    assert run_now(store.get_many(keys)) == [noise(str(n), 200 * n) for n in range(1, synced + 1)]
    close(store)
