"""vac -a: the next archive of a name reads what changed, follows the last one, and is right anyway."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fossil_fs.ingest import content, files
from fossil_fs.ingest.archive import Outcome, Previous, archive
from fossil_fs.ingest.options import Options
from fossil_fs.ingest.remember import LINKS, recall
from fossil_fs.ingest.report import Report
from fossil_fs.snapshot import open_snapshot
from lib9.waiting import run_now
from tests.fossil_fs.trees import differs, make_zoo, next_tick, run, unvac_tree, vac_tree
from venti_store.score import BLAKE3, Family, Score, parse_score
from venti_store.stores.memory import MemoryStore


class Keeper:
    """Archives one tree again and again, as `vac -a` does; knows which files were opened."""

    def __init__(
        self, work: Path, monkeypatch: pytest.MonkeyPatch, family: Family = BLAKE3
    ) -> None:
        self.tree, self.work = work / "tree", work
        self.memory = work / "memory"
        self.store = MemoryStore(family)
        self.score: Score | None = None
        self.opened: list[bytes] = []
        self.report = Report()
        really = files.open_file

        def open_file(name: bytes, dir_fd: int) -> int:
            self.opened.append(name)
            return really(name, dir_fd)

        monkeypatch.setattr(files, "open_file", open_file)

    def archive(self, *, check: bool = True, **options: Any) -> Outcome:
        """Archive; with `check` the result must be the tree that is there, and alike if read anew."""
        next_tick(self.work)
        self.opened.clear()
        self.report = Report()
        outcome = archive(
            self.store,
            [os.fsencode(self.tree)],
            Options(**{"readers": 0, "dsize": 8192, **options}),
            self.report,
            previous=Previous(self.score, str(self.memory)),
        )
        self.score = outcome.score
        assert self.report.troubles == 0
        if check:
            opened = list(self.opened)
            same = run_now(open_snapshot(self.store, outcome.score))
            anew = vac_tree(self.store, self.tree, **{"dsize": 8192, **options})
            other = run_now(open_snapshot(self.store, anew.score))
            assert (same.root, same.link_streams) == (other.root, other.link_streams)
            self.opened = opened
        return outcome


@pytest.fixture
def keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keeper]:
    make_zoo(tmp_path / "tree", privileged=os.geteuid() == 0)
    yield Keeper(tmp_path, monkeypatch)


def test_nothing_changed_is_the_old_root_and_opens_nothing(keeper: Keeper) -> None:
    first = keeper.archive()
    assert keeper.opened
    assert not first.unchanged
    again = keeper.archive()
    assert (again.score, again.unchanged, keeper.opened) == (first.score, True, [])
    assert keeper.report.directories_reused == keeper.report.directories
    assert keeper.report.files_reused < keeper.report.files, "names of an inode count once"


CHANGES: dict[str, tuple[Callable[[Path], object], list[bytes]]] = {
    "bytes": (lambda top: (top / "size-1").write_bytes(b"!"), [b"size-1"]),
    "deep down": (lambda top: next(top.rglob("bottom")).write_bytes(b"!"), [b"bottom"]),
    "mode": (lambda top: (top / "size-1").chmod(0o4711), [b"size-1"]),
    "attribute": (lambda top: os.setxattr(top / "size-1", "user.one", b"2"), [b"size-1"]),
    "time put back": (
        lambda top: (
            (top / "size-100").write_bytes(b"x" * 100),
            os.utime(top / "size-100", ns=(5, 5)),
        ),
        [b"size-100"],
    ),
    "mode of a directory": (lambda top: (top / "deep").chmod(0o711), []),
    "attribute of a directory": (lambda top: os.setxattr(top / "deep", "user.small", b""), []),
    "a new file": (lambda top: (top / "new").write_bytes(b"!"), [b"new"]),
    "a new directory": (lambda top: (top / "sticky" / "new").mkdir(), []),
    "a file less": (lambda top: (top / "size-0").unlink(), []),
    "a directory less": (lambda top: shutil.rmtree(top / "deep" / "level-0"), []),
    "a file for a directory": (
        lambda top: ((top / "sticky").rmdir(), (top / "sticky").write_bytes(b"!")),
        [b"sticky"],
    ),
    "a directory for a file": (
        lambda top: ((top / "size-0").unlink(), (top / "size-0").mkdir()),
        [],
    ),
    "another name": (lambda top: (top / "size-0").rename(top / "size"), [b"size"]),
    "exchanged": (
        lambda top: (
            (top / "size-0").rename(top / "x"),
            (top / "size-1").rename(top / "size-0"),
            (top / "x").rename(top / "size-1"),
        ),
        [b"size-0", b"size-1"],
    ),
    "a symlink's target": (
        lambda top: ((top / "dangling").unlink(), (top / "dangling").symlink_to("x")),
        [],
    ),
    "through one of its names": (
        lambda top: (top / "size-65537").write_bytes(b"!"),
        [b"a-first-name"],
    ),
    "a third name": (
        lambda top: os.link(top / "size-65537", top / "z-third"),
        [b"a-first-name"],
    ),
    "its first name less": (lambda top: (top / "a-first-name").unlink(), [b"size-65537"]),
    "one name left": (
        lambda top: ((top / "a-first-name").unlink(), (top / "deep" / "second-name").unlink()),
        [b"size-65537"],
    ),
    "a second name for a file": (lambda top: os.link(top / "size-1", top / "zz"), [b"size-1"]),
    "the name outside goes": (lambda top: (top.parent / "outside").unlink(), [b"alone"]),
    "the name outside comes in": (
        lambda top: (top.parent / "outside").rename(top / "inside"),
        [b"alone"],
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_only_what_changed_is_opened(keeper: Keeper, what: str) -> None:
    change, opened = CHANGES[what]
    first = keeper.archive()
    change(keeper.tree)
    second = keeper.archive()
    assert keeper.opened == opened
    if what == "the name outside goes":
        assert second.score == first.score
    else:
        assert run_now(open_snapshot(keeper.store, second.score)).prev == first.score
    unvac_tree(keeper.store, second.score, keeper.work / "out")
    assert differs(keeper.tree, keeper.work / "out") == []
    assert keeper.archive().unchanged
    assert keeper.opened == []


def test_a_file_touched_since_the_run_began_is_read_again(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.archive()
    really = content.store_file
    victim = keeper.tree / "size-1"

    def store_file(sink: Any, fd: int, state: os.stat_result, dsize: int) -> Any:
        entry = really(sink, fd, state, dsize)
        if state.st_ino == (keeper.tree / "size-100").stat().st_ino:
            victim.write_bytes(b"?")  # it sorts behind, and is looked at already
        return entry

    (keeper.tree / "size-100").write_bytes(b"!")
    next_tick(keeper.work)
    with monkeypatch.context() as patch:
        patch.setattr(files, "store_file", store_file)
        keeper.archive(check=False)
    keeper.archive()
    assert b"size-1" in keeper.opened
    assert keeper.archive().unchanged


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-30]),
        lambda file: file.write_bytes(bytes(file.stat().st_size)),
        lambda file: file.write_bytes(b"another-" + file.read_bytes()[8:]),
    ],
)
def test_losing_the_memory_costs_reading_and_nothing_else(
    keeper: Keeper, spoil: Callable[[Path], object]
) -> None:
    first = keeper.archive()
    spoil(keeper.memory)
    again = keeper.archive()
    assert (again.score, again.unchanged) == (first.score, True)
    assert keeper.opened
    assert keeper.archive().unchanged
    assert keeper.opened == []


def test_damaged_records_are_as_if_lost(keeper: Keeper) -> None:
    first = keeper.archive()
    data = bytearray(keeper.memory.read_bytes())
    for at in range(200, len(data) - 2000, 97):
        data[at] ^= 0x55
    keeper.memory.write_bytes(data)
    assert keeper.archive().score == first.score


def test_the_memory_is_believed_for_its_own_root_and_block_size_only(keeper: Keeper) -> None:
    first = keeper.archive()
    file = str(keeper.memory)
    assert recall(file, BLAKE3, first.score, 8192) is not None
    assert recall(file, BLAKE3, BLAKE3.score(b"another"), 8192) is None
    assert recall(file, BLAKE3, first.score, 4096) is None
    other = keeper.archive(dsize=4096)
    assert other.score != first.score
    assert b"size-0" in keeper.opened


def test_the_links_are_remembered(keeper: Keeper) -> None:
    first = keeper.archive()
    memory = recall(str(keeper.memory), BLAKE3, first.score, 8192)
    assert memory is not None
    assert memory.find(LINKS) is not None
    assert memory.find(b"deep") is not None
    assert memory.find(b"no such directory") is None


class AnyHistory(RuleBasedStateMachine):
    """After any changes, going on with the last archive gives what reading all anew gives."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()

    @initialize(tmp=st.builds(lambda: __import__("tempfile").mkdtemp(prefix="vac-again-")))
    def start(self, tmp: str) -> None:
        self.work = Path(tmp)
        for folder in ("d1/d2", "d3"):
            (self.work / "tree" / folder).mkdir(parents=True)
        self.keeper = Keeper(self.work, self.patch)

    FOLDERS = st.sampled_from(["", "d1", "d1/d2", "d3"])
    NAMES = st.sampled_from(["a", "b", "c", "d"])

    def path(self, folder: str, name: str) -> Path:
        return self.keeper.tree / folder / name

    @rule(folder=FOLDERS, name=NAMES, data=st.binary(max_size=3))
    def write(self, folder: str, name: str, data: bytes) -> None:
        if not self.path(folder, name).is_dir():
            self.path(folder, name).write_bytes(data * 5000)

    @rule(folder=FOLDERS, name=NAMES)
    def remove(self, folder: str, name: str) -> None:
        path = self.path(folder, name)
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    @rule(folder=FOLDERS, name=NAMES)
    def make_directory(self, folder: str, name: str) -> None:
        if not self.path(folder, name).exists():
            self.path(folder, name).mkdir()
            (self.path(folder, name) / "x").write_text("x")

    @rule(one=FOLDERS, a=NAMES, other=FOLDERS, b=NAMES)
    def link(self, one: str, a: str, other: str, b: str) -> None:
        old, new = self.path(one, a), self.path(other, b)
        if old.is_file() and not new.exists():
            os.link(old, new)

    @rule(one=FOLDERS, a=NAMES, other=FOLDERS, b=NAMES)
    def rename(self, one: str, a: str, other: str, b: str) -> None:
        old, new = self.path(one, a), self.path(other, b)
        if old.is_file() and not new.is_dir():
            old.rename(new)

    @rule()
    def archive(self) -> None:
        self.keeper.archive()

    @invariant()
    def nothing_is_left_beside_the_memory(self) -> None:
        if hasattr(self, "work"):
            assert not [p for p in self.work.iterdir() if p.name.startswith(".vac-")]

    def teardown(self) -> None:
        if hasattr(self, "work"):
            self.keeper.archive()
            self.keeper.archive()
            assert self.keeper.opened == []
            shutil.rmtree(self.work)
        self.patch.undo()


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(
    max_examples=30, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_the_command_chains_names_and_says_nothing_changed(home: Path) -> None:
    tree = home / "tree"
    tree.mkdir()
    (tree / "file").write_text("one")
    next_tick(home)
    scores = [run("vac", "-a", "mine", tree).stdout.strip()]
    done = run("vac", "-a", "mine", tree)
    assert done.stdout.strip() == scores[0]
    assert "nothing changed" in done.stderr
    (tree / "file").write_text("two")
    scores.append(run("vac", "-a", "mine", tree).stdout.strip())
    log = run("fossil-log", "mine").stdout.splitlines()
    assert [line.split()[0] for line in log] == scores[::-1]
    run("unvac", "mine~1", home / "old")
    run("unvac", "mine", home / "new")
    assert (home / "old" / "file").read_text() == "one"
    assert (home / "new" / "file").read_text() == "two"
    names = (home / "data" / "spawngrid" / "names").read_text()
    assert names.count("scorename=mine") == 2


def test_the_command_goes_on_when_the_last_root_is_not_in_this_store(home: Path) -> None:
    tree = home / "tree"
    tree.mkdir()
    (tree / "file").write_text("one")
    first = run("vac", "-a", "mine", tree).stdout.strip()
    run("venti", "init", home / "other")
    done = run("vac", "-a", "mine", "-s", home / "other", tree)
    assert done.stdout.strip() == first
    assert "not in this store" in done.stderr
    assert parse_score(first)


@pytest.mark.parametrize("name", ["vac:" + "0" * 64, "0" * 64, "a/b", "a~1", ""])
def test_the_command_refuses_names_that_cannot_be(home: Path, name: str) -> None:
    done = run("vac", "-a", name, home, check=False)
    assert (done.returncode, done.stdout) == (2, "")
