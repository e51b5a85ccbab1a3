"""unvac: parts of trees, targets that are not empty, users without rights, trees from strangers."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from fossil_fs.directory.write import DirectoryWriter
from fossil_fs.find import NoSuchPath
from fossil_fs.node import Node
from fossil_fs.record import pack_record
from fossil_fs.restore import report as reports
from fossil_fs.restore.restore import restore
from fossil_fs.snapshot import open_snapshot, write_snapshot
from lib9.waiting import run_now
from tests.fossil_fs.kit import VAC, load_archive
from tests.fossil_fs.trees import (
    UNPRIVILEGED,
    differs,
    listing,
    make_zoo,
    run,
    unvac_tree,
    vac_tree,
)
from venti_store.errors import BadTree
from venti_store.hashtree.build import TreeBuilder, build_tree
from venti_store.hashtree.entry import Entry
from venti_store.interfaces import Batch
from venti_store.kind import Kind
from venti_store.score import BLAKE3, Score
from venti_store.stores.memory import MemoryStore

FILE, LINK, DIR = stat.S_IFREG | 0o644, stat.S_IFLNK | 0o777, stat.S_IFDIR | 0o755


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    make_zoo(tmp_path / "zoo", privileged=os.geteuid() == 0)
    return tmp_path / "zoo"


def told(store: MemoryStore, score: Score, target: Path, **options: bool) -> list[tuple[str, str]]:
    """Restore; return the troubles."""
    lines: list[tuple[str, str]] = []
    report = reports.Report(
        on_trouble=lambda path, why: lines.append(
            (os.fsdecode(os.path.relpath(path, os.fsencode(target))), why)
        )
    )
    snapshot = run_now(open_snapshot(store, score))
    run_now(restore(snapshot, os.fsencode(target), report=report, **options))
    return lines


def test_only_what_was_asked_for(zoo: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    score = vac_tree(store, zoo).score
    bottom = os.fsencode(next(zoo.rglob("bottom")).relative_to(zoo))
    unvac_tree(store, score, tmp_path / "out", bottom, b"/sticky/", b"size-1")
    made, whole = listing(tmp_path / "out"), listing(zoo)
    wanted = {b".", b"sticky", b"size-1", *(bottom.rsplit(b"/", n)[0] for n in range(22))}
    assert made.keys() == wanted
    assert all(made[path] == whole[path] for path in wanted - {b"."}), "directories above, too"
    for missing in (b"none", b"size-1/below", b"deep/none"):
        with pytest.raises(NoSuchPath):
            unvac_tree(store, score, tmp_path / "nothing", b"sticky", missing)
    with pytest.raises(BadTree):
        unvac_tree(store, score, tmp_path / "nothing", b"deep/../size-1")
    assert not (tmp_path / "nothing").exists()


def test_what_is_there_stays_unless_replaced(zoo: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    score = vac_tree(store, zoo).score
    out = tmp_path / "out"
    (out / "size-0").mkdir(parents=True)
    (out / "size-1").write_text("mine")
    (out / "deep").symlink_to(tmp_path)
    (out / "own").write_text("own")
    told_of = told(store, score, out)
    assert sorted(told_of) == [
        ("deep", "something else is there already"),
        ("size-0", "is there already"),
        ("size-1", "is there already"),
    ]
    assert (out / "size-1").read_text() == "mine"
    assert not (tmp_path / "level-0").exists(), "a symlink was followed"
    assert told(store, score, out, replace=True) == [("size-0", "is there already")]
    (out / "size-0").rmdir()
    (out / "own").unlink()
    assert told(store, score, out, replace=True) == []
    assert differs(zoo, out) == []


def test_a_target_may_be_reached_by_a_symlink_and_have_default_acls(
    zoo: Path, tmp_path: Path
) -> None:
    store = MemoryStore()
    score = vac_tree(store, zoo).score
    out = tmp_path / "real"
    out.mkdir()
    done = os.system(f"setfacl -d -m u:4321:rwx {out} 2>/dev/null")
    if done:
        pytest.skip("no ACLs here")
    (tmp_path / "out").symlink_to(out)
    unvac_tree(store, score, tmp_path / "out")
    assert differs(zoo, out) == []


def test_damaged_files_are_told_and_the_others_restored(zoo: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    score = vac_tree(store, zoo, dsize=8192).score
    small, large = (zoo / "size-100").read_bytes(), (zoo / "size-300000").read_bytes()
    del store.blocks[BLAKE3.score(small), Kind.DATA]
    del store.blocks[BLAKE3.score(large[8192:16384]), Kind.DATA]
    lines = told(store, score, tmp_path / "out")
    assert sorted(name for name, _ in lines) == ["size-100", "size-300000"]
    missing = listing(zoo).keys() - listing(tmp_path / "out").keys()
    assert missing == {b"size-100", b"size-300000"}, "nothing is left of files that are not whole"


class Forger:
    """Writes trees that no honest program would."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.batch = Batch(BLAKE3)

    def content(self, data: bytes) -> Entry:
        return build_tree(self.batch, data, dsize=8192, psize=8192)

    def directory(self, names: Mapping[bytes, Node]) -> tuple[Entry, Entry]:
        """Write a directory under placeholder names, then forge the real ones into it."""
        order = sorted(names)
        places = {b"%0*d" % (len(name), n): name for n, name in enumerate(order)}

        def pack(name: bytes, node: Node, slot: int) -> bytes:
            return pack_record(BLAKE3, places[name], node, slot)

        writer = DirectoryWriter(self.batch, pack)
        for place, name in sorted(places.items()):
            writer.add(place, names[name])
        return writer.finish()

    def node(self, names: Mapping[bytes, Node]) -> Node:
        source, meta = self.directory(names)
        return Node(DIR, content=source, meta=meta)

    def root(self, names: Mapping[bytes, Node]) -> Score:
        score = write_snapshot(self.batch, self.node(names))
        run_now(self.store.put_many(self.batch.take()))
        return score


@pytest.mark.parametrize("name", [b"..", b"/tmp/x", b"a/b", b".", b"", b"a\0b"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: bytes) -> None:
    forger = Forger()
    file = Node(FILE, uid=os.geteuid(), gid=os.getegid(), size=4, content=forger.content(b"evil"))
    inner = forger.node({name: file})
    score = forger.root({b"inner": inner, b"good": file})
    lines = told(forger.store, score, tmp_path / "out" / "below")
    assert lines
    assert (tmp_path / "out" / "below" / "good").read_bytes() == b"evil"
    below = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert below == {"out", "out/below", "out/below/good", "out/below/inner"}


def test_no_file_is_made_through_a_symlink_of_the_tree(tmp_path: Path) -> None:
    """The name stands twice: first a symlink, then a directory or a file to be written through it."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "file").write_text("untouched")
    forger = Forger()
    target = os.fsencode(tmp_path / "victim")
    file = Node(FILE, size=4, content=forger.content(b"evil"))
    link = Node(LINK, size=len(target), content=forger.content(target))
    to_file = target + b"/file"
    file_link = Node(LINK, size=len(to_file), content=forger.content(to_file))
    writer = DirectoryWriter(
        forger.batch, lambda name, node, slot: pack_record(BLAKE3, name[1:], node, slot)
    )
    writer.add(b"1a", link)
    writer.add(b"2a", forger.node({b"file": file, b"new": file}))
    writer.add(b"3b", file_link)
    writer.add(b"4b", file)
    source, meta = writer.finish()
    score = write_snapshot(forger.batch, Node(DIR, content=source, meta=meta))
    run_now(forger.store.put_many(forger.batch.take()))
    assert told(forger.store, score, tmp_path / "out")
    assert told(forger.store, score, tmp_path / "out", replace=True)
    assert (tmp_path / "victim" / "file").read_text() == "untouched"
    assert [path.name for path in (tmp_path / "victim").iterdir()] == ["file"]
    assert not (tmp_path / "victim").is_symlink()


def test_symlinks_that_are_there_already_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    forger = Forger()
    file = Node(FILE, size=4, content=forger.content(b"evil"))
    score = forger.root({b"below": forger.node({b"file": file})})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "below").symlink_to(tmp_path / "victim")
    assert told(forger.store, score, tmp_path / "out") == [
        ("below", "something else is there already")
    ]
    assert list((tmp_path / "victim").iterdir()) == []


def test_a_first_name_that_is_exchanged_is_not_linked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tree" / "d").mkdir(parents=True)
    (tmp_path / "tree" / "a").write_text("a")
    os.link(tmp_path / "tree" / "a", tmp_path / "tree" / "d" / "b")
    (tmp_path / "secret").write_text("secret")
    store = MemoryStore()
    score = vac_tree(store, tmp_path / "tree").score
    from fossil_fs.restore import restore as module

    really = module.make_directory

    def make_directory(dir_fd: int, name: bytes, *, replace: bool) -> int:
        (tmp_path / "out" / "a").unlink()
        os.link(tmp_path / "secret", tmp_path / "out" / "a")
        return really(dir_fd, name, replace=replace)

    monkeypatch.setattr(module, "make_directory", make_directory)
    lines = told(store, score, tmp_path / "out")
    assert lines == [("d/b", "its first name was exchanged meanwhile")]
    assert not (tmp_path / "out" / "d" / "b").exists()


def test_files_that_are_nearly_all_hole_cost_nearly_nothing(tmp_path: Path) -> None:
    forger = Forger()
    builder = TreeBuilder(forger.batch, dsize=512, psize=8192)
    builder.skip(1 << 38)
    builder.write(b"middle")
    builder.skip(1 << 37)
    hole = builder.finish()
    score = forger.root({b"hole": Node(FILE, size=hole.size, content=hole)})
    assert told(forger.store, score, tmp_path / "out") == []
    state = (tmp_path / "out" / "hole").stat()
    assert (state.st_size, state.st_blocks * 512 < 1 << 20) == (hole.size, True)
    with open(tmp_path / "out" / "hole", "rb") as file:
        assert os.pread(file.fileno(), 8, (1 << 38) - 1) == b"\0middle\0"


def test_a_symlink_without_a_target_is_told(tmp_path: Path) -> None:
    forger = Forger()
    score = forger.root({b"l": Node(LINK, size=0, content=None)})
    assert [name for name, _ in told(forger.store, score, tmp_path / "out")] == ["l"]


def test_without_rights_losses_are_told_and_setuid_bits_stay_out(zoo: Path, home: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make what others cannot restore")
    score = run("vac", zoo).stdout.strip()
    done = run(*UNPRIVILEGED, "unvac", score, home / "out", check=False)
    assert done.returncode == 3
    lines = done.stderr.splitlines()
    assert f"unvac: {home}/out/char: Operation not permitted" in lines
    assert f"unvac: {home}/out/block: Operation not permitted" in lines
    assert any(line.startswith("unvac: owner: not restored of ") for line in lines), lines
    assert stat.S_IMODE((home / "out" / "setuid").stat().st_mode) == 0o755
    assert stat.S_IMODE((home / "out" / "setgid").stat().st_mode) & 0o4000 == 0
    there = listing(home / "out").keys()
    assert listing(zoo).keys() - there == {b"char", b"block"}


def test_an_archive_of_plan_9s_vac_comes_back(tmp_path: Path) -> None:
    store, score = load_archive("vac")
    lines: list[str] = []
    report = reports.Report(on_trouble=lambda path, why: lines.append(f"{path!r} {why}"))
    run_now(
        restore(run_now(open_snapshot(store, score)), os.fsencode(tmp_path / "out"), report=report)
    )
    assert score.hex() == VAC
    assert report.files > 5
    assert listing(tmp_path / "out")


def test_the_command_lists_and_restores(zoo: Path, home: Path) -> None:
    score = run("vac", "-q", zoo).stdout.strip()
    plain = run("unvac", "-t", score, encoding="utf-8", errors="surrogateescape").stdout
    listed = {line for line in plain.split("\n") if line}
    assert {"fifo", "deep/second-name", "sticky"} <= listed
    long = run("unvac", "-t", "-v", score, "fifo").stdout
    assert long.startswith("prw")
    assert '"type":"socket"' in run("unvac", "-t", "--json", score, "socket").stdout
    done = run("unvac", "--json", score, home / "out", "sticky", "fifo")
    assert '"files":1,"directories":1' in done.stdout
    assert run("unvac", score, check=False).returncode == 2
    assert run("unvac", score, home / "out", "none", check=False).returncode == 4
    assert run("unvac", "nobody", home / "out", check=False).returncode == 4
    assert run("unvac", "1" * 64, home / "out", check=False).returncode == 4
    assert run("unvac", "vac:12", home / "out", check=False).returncode == 2
