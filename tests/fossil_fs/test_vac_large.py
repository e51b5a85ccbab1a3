"""Size: directories of 100,000 entries, deep ones, files of many gigabytes in constant memory."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from fossil_fs.find import find
from fossil_fs.snapshot import open_snapshot
from lib9.waiting import run_now
from tests.fossil_fs.trees import SCRIPTS, differs, listing, run, unvac_tree, vac_tree
from venti_store.hashtree.read import read
from venti_store.stores.memory import MemoryStore

GIB = 1 << 30


@pytest.mark.parametrize("back", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_directory_of_100_000_entries(tmp_path: Path, back: bool) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    fd = os.open(tree, os.O_RDONLY)
    os.close(os.open("0", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=fd))
    for number in range(1, 100_000):
        name = f"{number:x}"
        if number % 100:
            os.symlink("t", name, dir_fd=fd)
        else:
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=fd))
    os.close(fd)
    store = MemoryStore()
    began = time.process_time()
    outcome = vac_tree(store, tree)
    assert time.process_time() - began < 60
    snapshot = run_now(open_snapshot(store, outcome.score))
    node, _ = run_now(find(snapshot, b"1869f"))
    assert node.is_symlink
    if not back:
        return
    report = unvac_tree(store, outcome.score, tmp_path / "out")
    assert (report.files, report.troubles) == (100_000, 0)
    assert len(os.listdir(tmp_path / "out")) == 100_000


def test_directories_within_each_other_beyond_any_path(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    fd = os.open(tree, os.O_RDONLY)
    for _ in range(300):  # 300 × 21 bytes: more than a path may have
        os.mkdir("a-rather-longish-name", dir_fd=fd)
        below = os.open("a-rather-longish-name", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.symlink("bottom", "s", dir_fd=fd)
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, 0o640, dir_fd=fd))
    os.close(fd)
    store = MemoryStore()
    outcome = vac_tree(store, tree)
    unvac_tree(store, outcome.score, tmp_path / "out")
    assert vac_tree(store, tmp_path / "out").score == outcome.score
    for path in (tree, tmp_path / "out"):
        subprocess.run(["rm", "-rf", path], check=True)


def run_within(mebibytes: int, *command: object) -> None:
    """Run a command whose processes may each have so much memory of their own; mapped files aside."""
    words = ["prlimit", f"--data={mebibytes << 20}", *(str(word) for word in command)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_sparse_file_of_many_gigabytes_in_constant_memory(home: Path) -> None:
    tree = home / "tree"
    tree.mkdir()
    with open(tree / "sparse", "wb") as file:
        os.truncate(file.fileno(), 500 * GIB + 5)
        for gib in (0, 3, 200, 499):
            os.pwrite(file.fileno(), b"%d" % gib * 1000, gib * GIB + 12345)
    began = time.monotonic()
    run_within(200, SCRIPTS / "vac", "-a", "sparse", tree)
    run_within(200, SCRIPTS / "unvac", "sparse", home / "out")
    assert time.monotonic() - began < 60
    state = (home / "out" / "sparse").stat()
    assert (state.st_size, state.st_blocks * 512 < 8 << 20) == (500 * GIB + 5, True)
    with open(home / "out" / "sparse", "rb") as file:
        for gib in (0, 3, 200, 499):
            expected = b"\0%d" % gib
            assert os.pread(file.fileno(), len(expected), gib * GIB + 12344) == expected


@pytest.mark.long
def test_a_file_of_many_gigabytes_in_constant_memory(home: Path) -> None:
    tree = home / "tree"
    tree.mkdir()
    piece = os.urandom(1 << 20)
    with open(tree / "large", "wb") as file:
        file.writelines(number.to_bytes(8, "big") + piece[8:] for number in range(5 << 10))
    run_within(256, SCRIPTS / "vac", "-a", "large", tree)
    run_within(256, SCRIPTS / "unvac", "large", home / "out")
    subprocess.run(["cmp", tree / "large", home / "out" / "large"], check=True)


@pytest.mark.long
@pytest.mark.root
def test_the_systems_own_files_come_back(home: Path) -> None:
    """/usr/share with everything rsync can see; the copy has the same score."""
    source = Path("/usr/share")
    score = run("vac", "-a", "share", source).stdout.strip()
    run("unvac", "share", home / "out")
    compared = subprocess.run(
        ["rsync", "-aHAXni", "--checksum", "--delete", f"{source}/", f"{home}/out/"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert compared.stdout == ""
    assert run("vac", home / "out").stdout.strip() == score
    assert run("vac", "-a", "share", source).stdout.strip() == score


def test_a_stream_is_read_back_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    data = os.urandom(3_000_001)
    (tmp_path / "tree" / "file").write_bytes(data)
    store = MemoryStore()
    outcome = vac_tree(store, tmp_path / "tree", dsize=512)
    node, _ = run_now(find(run_now(open_snapshot(store, outcome.score)), b"file"))
    assert node.content is not None
    assert node.content.depth == 2
    assert run_now(read(store, node.content, 0, len(data))) == data
    unvac_tree(store, outcome.score, tmp_path / "out")
    assert differs(tmp_path / "tree", tmp_path / "out") == []
    assert listing(tmp_path / "out")
