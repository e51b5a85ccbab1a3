"""A million files, a sparse file of 100 GiB, 10,000 attributes, the longest paths: in bounded memory."""

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fossil_fs.directory import write_directory
from fossil_fs.node import Node
from fossil_fs.snapshot import write_snapshot
from lib9.waiting import run_now
from tests.fossil_fs.cli.mounts import Machine, machine_at
from venti_store.hashtree.build import build_tree
from venti_store.interfaces import Batch
from venti_store.score import BLAKE3, format_score
from venti_store.stores.lmdb.store import LmdbStore

pytestmark = [pytest.mark.fuse, pytest.mark.root, pytest.mark.long, pytest.mark.timeout(1800)]

MIB = 1 << 20
GIB = 1 << 30
IDLE_MAX = 64 * MIB  # of a daemon that has little to remember
INODE_MAX = 1 * MIB // 1000  # for an inode that the kernel knows


@pytest.fixture
def machine(home: Path) -> Iterator[Machine]:
    with machine_at(home) as made:
        yield made


def memory(machine: Machine, point: Path) -> int:
    """Return the bytes of RssAnon and RssShmem of the mount's daemon."""
    lines = Path(f"/proc/{machine.pid(point)}/status").read_text().splitlines()
    words = dict(line.split(":", 1) for line in lines if ":" in line)
    return sum(int(words[name].split()[0]) * 1024 for name in ("RssAnon", "RssShmem"))


def con(machine: Machine, point: Path, *words: str) -> str:
    return machine.run("fossil-con", point, *words).stdout.strip()


def known(machine: Machine, point: Path) -> int:
    return int(json.loads(con(machine, point, "stats", "--json"))["inodes"])


def million(machine: Machine, directories: int = 1000, files: int = 1000) -> str:
    """Store a root of a million small files and return its score."""
    store = LmdbStore(str(machine.store))
    batch = Batch(BLAKE3)
    entries = []
    texts = [b"file %d" % f for f in range(files)]
    contents = [build_tree(batch, text, dsize=65536, psize=8192) for text in texts]
    for d in range(directories):
        nodes = []
        for f, (text, content) in enumerate(zip(texts, contents, strict=True)):
            mode = stat.S_IFREG | 0o644
            node = Node(mode, qid=2 + d * files + f, size=len(text), content=content)
            nodes.append((b"f%04d" % f, node))
        source, meta = write_directory(batch, nodes)
        mode = stat.S_IFDIR | 0o755
        node = Node(mode, qid=(1 << 40) + d, content=source, meta=meta)
        entries.append((b"d%04d" % d, node))
        run_now(store.put_many(batch.take()))
    source, meta = write_directory(batch, entries)
    root = Node(stat.S_IFDIR | 0o755, qid=1, content=source, meta=meta)
    score = write_snapshot(batch, root)
    run_now(store.put_many(batch.take()))
    run_now(store.aclose())
    return format_score(score)


def test_a_million_files(machine: Machine) -> None:
    point = machine.point("mnt")
    score = million(machine)
    machine.mount(score, point)
    assert (point / "d0999/f0999").read_text() == "file 999"
    assert memory(machine, point) < IDLE_MAX
    listed = subprocess.run(
        f"find {point} -type f -size -2 | wc -l", shell=True, capture_output=True, check=True
    )
    assert int(listed.stdout) == 1_000_000
    inodes, used = known(machine, point), memory(machine, point)
    print(f"{inodes} inodes known to the kernel: {used / MIB:.0f} MiB")
    assert used < IDLE_MAX + inodes * INODE_MAX
    (point / "d0500/f0500").write_text("changed")
    (point / "d0500/new").write_text("new")
    (point / "d0001/f0001").unlink()
    changed = machine.save(point)
    written = json.loads(con(machine, point, "stats", "--json"))["venti"]["bytes_written"]
    assert written < MIB  # what changed, not what is there
    Path("/proc/sys/vm/drop_caches").write_text("2")
    assert known(machine, point) < inodes
    assert "all agree" in con(machine, point, "check")
    machine.run("fossil-umount", point)
    machine.mount(changed, point)
    assert (point / "d0500/f0500").read_text() == "changed"
    assert len(os.listdir(point / "d0001")) == 999
    assert memory(machine, point) < IDLE_MAX


def test_a_sparse_file_of_100_gib(machine: Machine) -> None:
    point, other = machine.point("mnt"), machine.point("other")
    machine.mount(machine.root, point)
    size = 100 * GIB
    places = [0, 5 * GIB, 33 * GIB + 4096, 99 * GIB + 65536]
    with open(point / "sparse", "wb") as file:
        file.truncate(size)
        for place in places:
            file.seek(place)
            file.write(b"%16d" % place)
    score = machine.save(point)
    machine.mount(score, other)
    for where in (point, other):
        with open(where / "sparse", "rb") as file:
            assert os.fstat(file.fileno()).st_size == size
            at, found = 0, []
            for _ in places:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
                found.append(at)
                at = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            assert [at - at % 65536 for at in found] == [at - at % 65536 for at in places]
            for place in places:
                assert os.pread(file.fileno(), 16, place) == b"%16d" % place
                assert os.pread(file.fileno(), 16, place + MIB) == bytes(16)
            assert os.pread(file.fileno(), 100, size - 50) == bytes(50)
    with open(other / "sparse", "r+b") as file:
        file.truncate(40 * GIB)
        file.truncate(size)
        assert os.pread(file.fileno(), 16, places[3]) == bytes(16)
    machine.save(other)
    with open(other / "sparse", "rb") as file:
        assert os.pread(file.fileno(), 16, places[2]) == b"%16d" % places[2]
        assert os.lseek(file.fileno(), 34 * GIB, os.SEEK_HOLE) == 34 * GIB
    for where in (point, other):
        assert memory(machine, where) < IDLE_MAX


def test_ten_thousand_extended_attributes(machine: Machine) -> None:
    """On one file: each by its name. The kernel lists no more than 64 KiB of names."""
    point, other = machine.point("mnt"), machine.point("other")
    machine.mount(machine.root, point)
    path = point / "file"
    path.touch()
    for n in range(10_000):
        os.setxattr(path, f"user.{n:04x}", b"value %d" % n)
    with pytest.raises(OSError, match="too long"):
        os.listxattr(path)
    for n in range(0, 10_000, 2):
        os.removexattr(path, f"user.{n:04x}")
    assert len(os.listxattr(path)) == 5000
    score = machine.save(point)
    machine.mount(score, other)
    for n in range(10_000):
        if n % 2:
            assert os.getxattr(other / "file", f"user.{n:04x}") == b"value %d" % n
    with pytest.raises(OSError, match="No data"):
        os.getxattr(other / "file", "user.0004")
    assert memory(machine, point) < IDLE_MAX
    assert memory(machine, other) < IDLE_MAX


def test_paths_of_4095_bytes(machine: Machine) -> None:
    point, other = machine.point("mnt"), machine.point("other")
    machine.mount(machine.root, point)
    path = "/".join(["d" * 255] * 15)
    path += "/" + "f" * (4095 - len(path) - 1)
    assert len(path) == 4095
    script = 'mkdir -p "$(dirname "$1")" && echo content > "$1" && ln -s "$1" link'
    subprocess.run(["sh", "-c", script, "sh", path], cwd=point, check=True)
    score = machine.save(point)
    machine.mount(score, other)
    for where in (point, other):
        done = subprocess.run(["cat", path], cwd=where, check=True, capture_output=True)
        assert done.stdout == b"content\n"
        assert os.readlink(where / "link") == path
    subprocess.run(["mv", path, "up"], cwd=other, check=True)
    assert (other / "up").read_text() == "content\n"
    assert "all agree" in con(machine, other, "check")


def test_a_directory_of_100_000_entries(machine: Machine) -> None:
    point, other = machine.point("mnt"), machine.point("other")
    machine.mount(machine.root, point)
    (point / "many").mkdir()
    folder = os.open(point / "many", os.O_RDONLY)
    for n in range(100_000):
        os.close(os.open(f"{n:x}", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=folder))
    os.close(folder)
    assert len(os.listdir(point / "many")) == 100_000
    inodes, used = known(machine, point), memory(machine, point)
    print(f"{inodes} new files: {used / MIB:.0f} MiB")
    assert used < IDLE_MAX + inodes * INODE_MAX
    assert "100,001 names" in con(machine, point, "check")
    score = machine.save(point)
    for n in range(0, 100_000, 2):
        os.unlink(point / f"many/{n:x}")
    assert len(os.listdir(point / "many")) == 50_000
    machine.mount(score, other)
    assert (other / "many/1869f").stat().st_size == 0
    assert memory(machine, other) < IDLE_MAX
    assert len(os.listdir(other / "many")) == 100_000
    half = machine.save(point)
    machine.run("fossil-umount", other)
    machine.mount(half, other)
    assert len(os.listdir(other / "many")) == 50_000
