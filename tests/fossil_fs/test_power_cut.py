"""A power cut at any moment: what the disk may then hold is a scratch that opens, with all that was synced.

A program's writes to its scratch are recorded by strace. Of a moment, the disk surely has what was
written to a file before the last fsync of it that returned, and of later writes any pages, in any
order. Names of files are taken as soon as they are made: file systems write them in their own journal.
"""

import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fossil_fs.scratch.scratch import Scratch
from lib9.waiting import run_now
from tests.fossil_fs.drive import Driver, empty_root, new_scratch, seen
from tests.venti_store.kit import noise
from venti_store.stores.memory import MemoryStore

PAGE = 4096
ROUNDS = 12
COMMITTED = 1000  # added to a round whose commit returned

WRITING = """
import sys
from pathlib import Path
from lib9.waiting import run_now
from tests.fossil_fs.drive import Driver
from tests.fossil_fs.test_power_cut import work
from venti_store.stores.memory import MemoryStore
from tests.fossil_fs.drive import empty_root
store = MemoryStore()
run_now(empty_root(store))
run_now(work(store, sys.argv[1].encode()))
"""

_CALL = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")
_FILE = re.compile(r"^\d+<([^>]*)>, ")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


def small(number: int) -> bytes:
    return noise(f"small{number}", 3000)


def large(number: int) -> bytes:
    return noise(f"large{number}", 70_000 + 1000 * number)


async def work(store: MemoryStore, scratch: bytes) -> None:
    """Write files, fsync them, take and drop snapshots; say what is synced by a line each."""
    fs = await Driver.open(store, scratch)
    for number in range(1, ROUNDS + 1):
        await fs.put(f"small{number}", small(number))
        ino = await fs.put(f"large{number}", large(number))
        await fs.write("large1", PAGE * number, b"%04d" % number * (PAGE // 4))
        if number % 3 == 0:
            fs.fs.snapshots.take(number, b"%d" % number)
        if number % 4 == 0:
            fs.fs.snapshots.drop(number // 4)
            while await fs.fs.snapshots.tidy():
                pass
        if number == 7:
            fs.fs.overlay.scratch.metadata.compact()
        await fs.fs.fsync(ino, 0, False)
        await fs.fs.fsync(await fs.ino("large1"), 0, False)
        print(number, flush=True)
        if number % 5 == 0:
            await fs.put(f"plain{number}", large(number))
            fs.fs.overlay.scratch.commit()
            print(COMMITTED + number, flush=True)
    fs.close()


@dataclass
class Disk:
    """What a file surely holds, and what was written to it since its last sync."""

    durable: bytearray = field(default_factory=bytearray)
    since: list[tuple[str, int, bytes]] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.since:
            apply(self.durable, change)
        self.since.clear()

    def write(self, offset: int, data: bytes) -> None:
        at = 0
        while at < len(data):
            size = PAGE - (offset + at) % PAGE
            self.since.append(("write", offset + at, data[at : at + size]))
            at += size


def apply(image: bytearray, change: tuple[str, int, bytes]) -> None:
    what, offset, data = change
    if what == "cut":
        del image[offset:]
        image.extend(bytes(max(0, offset - len(image))))
        return
    end = offset + len(data)
    image.extend(bytes(max(0, end - len(image))))
    image[offset:end] = data


class Recording:
    """The files of a scratch as a trace of system calls changes them."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = str(scratch)
        self.files: dict[str, Disk] = {}
        self.synced = 0
        self.committed: list[int] = []
        self._synchronous: set[int] = set()  # descriptors whose writes are on the disk at once
        self._positions: dict[int, int] = {}
        for path in scratch.rglob("*"):
            if path.is_file():
                self.files[str(path.relative_to(scratch))] = Disk(bytearray(path.read_bytes()))

    def play(self, trace: Path) -> Iterator[None]:
        """Follow the trace; after each call that changed something, give a moment to cut at."""
        for line in trace.read_text().splitlines():
            assert "unfinished" not in line, line
            found = _CALL.match(line)
            if found is not None and self._call(found[1], found[2], int(found[3])):
                yield

    def _call(self, call: str, rest: str, result: int) -> bool:
        if result < 0:
            return False
        if call == "openat":
            return self._open(rest, result)
        if call in ("rename", "unlink"):
            return self._name(call, rest)
        descriptor = int(rest.partition("<")[0] or -1) if rest[:1].isdigit() else -1
        data = b"".join(bytes.fromhex(t.replace("\\x", "")) for t in _TEXT.findall(rest))
        if call == "write" and descriptor == 1 and data.strip().isdigit():
            if int(data) > COMMITTED:
                self.committed.append(int(data) - COMMITTED)
            else:
                self.synced = int(data)
            return True
        file = _FILE.match(rest) or re.match(r"^\d+<([^>]*)>$", rest)
        disk = self._disk(file[1]) if file else None
        if disk is None:
            return False
        last = rest.rsplit(", ", 2)[-2 if call == "pwritev2" else -1]
        if call in ("fsync", "fdatasync"):
            disk.sync()
        elif call == "ftruncate":
            disk.since.append(("cut", int(last), b""))
        elif call == "fallocate":
            _, _, offset, length = rest.rsplit(", ", 3)
            disk.write(int(offset), bytes(int(length)))
            size = len(disk.durable)  # a hole behind the end does not lengthen the file
            assert int(offset) + int(length) <= size + (1 << 24)
        elif call == "lseek":
            self._positions[descriptor] = result
            return False
        else:
            offset = int(last) if call.startswith("p") else self._positions.get(descriptor, 0)
            assert len(data) == result, line_of(call, rest)
            disk.write(offset, data)
            self._positions[descriptor] = offset + result
        if descriptor in self._synchronous:
            disk.sync()
        return True

    def _disk(self, path: str) -> Disk | None:
        if path.startswith("\\x"):
            path = bytes.fromhex(path.replace("\\x", "")).decode()
        prefix = self.scratch + "/"
        if not path.startswith(prefix) or path.endswith("-lock"):
            return None
        return self.files.setdefault(path[len(prefix) :], Disk())

    def _open(self, rest: str, descriptor: int) -> bool:
        self._synchronous.discard(descriptor)
        self._positions[descriptor] = 0
        texts = _TEXT.findall(rest)
        path = bytes.fromhex(texts[0].replace("\\x", "")).decode() if texts else ""
        if "O_DSYNC" in rest or "O_SYNC" in rest:
            self._synchronous.add(descriptor)
        if "O_CREAT" in rest and self._disk(path) is not None:
            if "O_TRUNC" in rest:
                self.files[path[len(self.scratch) + 1 :]] = Disk()
            return True
        return False

    def _name(self, call: str, rest: str) -> bool:
        paths = [bytes.fromhex(t.replace("\\x", "")).decode() for t in _TEXT.findall(rest)]
        names = [path.removeprefix(self.scratch + "/") for path in paths]
        if names[0] not in self.files:
            return False
        disk = self.files.pop(names[0])
        if call == "rename":
            self.files[names[1]] = disk
        return True

    def cut(self, target: Path, chance: random.Random) -> None:
        """Write what the disk may hold if the power goes now."""
        keep = chance.choice([0.0, 0.3, 0.7, 1.0])
        for name, disk in self.files.items():
            image = bytearray(disk.durable)
            kept = [change for change in disk.since if chance.random() <= keep]
            for change in kept:
                apply(image, change)
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            with open(target / name, "wb") as file:
                file.truncate(len(image))
                for at in range(0, len(image), PAGE):
                    page = image[at : at + PAGE]
                    if any(page) or not name.startswith("data/"):
                        file.seek(at)
                        file.write(page)  # zeros stay holes, which a layer tells from data


def line_of(call: str, rest: str) -> str:
    return f"{call}({rest[:200]}"


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace")
def test_a_power_cut_leaves_a_scratch_with_all_that_was_synced(tmp_path: Path) -> None:
    store = MemoryStore()
    scratch = Path(new_scratch(tmp_path, store, run_now(empty_root(store))).decode())
    recording = Recording(scratch)
    trace = tmp_path / "trace"
    calls = (
        "openat,pwrite64,pwritev,pwritev2,lseek,write,writev,fsync,fdatasync,ftruncate,fallocate"
    )
    command = ["strace", "-f", "-y", "-xx", "-s", "10000000", "-o", str(trace)]
    command += ["-e", f"trace={calls},rename,unlink"]
    command += [sys.executable, "-c", WRITING, str(scratch)]
    done = subprocess.run(command, capture_output=True, check=False)
    if b"ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr

    chance = random.Random(2)
    cuts = 0
    for _ in recording.play(trace):
        if chance.random() < 0.5:
            continue
        target = tmp_path / "cut"
        shutil.rmtree(target, ignore_errors=True)
        recording.cut(target, chance)
        (target / "data").mkdir(exist_ok=True)
        run_now(check_image(store, target, recording))
        cuts += 1
    assert recording.synced == ROUNDS
    assert cuts > 3 * ROUNDS


async def check_image(store: MemoryStore, target: Path, recording: Recording) -> None:
    synced = recording.synced
    directory = str(target).encode()
    Scratch(directory).close()  # opens whatever the moment was
    fs = await Driver.open(store, directory)
    fs.fs.overlay.scratch.check()
    for number in range(1, synced + 1):
        assert await fs.read(f"small{number}") == small(number)
        if number > 1:
            assert await fs.read(f"large{number}") == large(number)
    for number in recording.committed:
        assert await fs.read(f"plain{number}") == large(number)
    first = await fs.read("large1") if synced else b""
    for number in range(1, synced + 1):
        page = first[PAGE * number : PAGE * (number + 1)]
        assert page == b"%04d" % number * (PAGE // 4), number
    there = {epoch.name: epoch.number for epoch in fs.fs.snapshots}
    for name, number in there.items():
        if int(name) > synced:
            continue  # it may have bytes that were not synced
        past = await seen(fs, number)
        assert await past.read(f"large{name.decode()}") == large(int(name))
    fs.close()
