"""Files that change, vanish or cannot be read while they are archived: told, and the rest is there."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fossil_fs.ingest import content, files, walk
from fossil_fs.ingest.archive import archive
from fossil_fs.ingest.options import Options
from fossil_fs.ingest.report import Report
from tests.fossil_fs.trees import UNPRIVILEGED, listing, next_tick, run, unvac_tree
from venti_store.stores.memory import MemoryStore


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    (top / "below").mkdir(parents=True)
    for name in ("a", "b", "c", "below/d"):
        (top / name).write_text(name * 1000)
    os.link(top / "b", top / "below" / "b-again")
    return top


def vac_with_troubles(tree: Path, tmp_path: Path) -> tuple[list[tuple[str, str]], set[str]]:
    """Archive; return the troubles, and the paths that can be restored."""
    told: list[tuple[str, str]] = []

    def tell(path: bytes, why: str) -> None:
        told.append((os.path.relpath(os.fsdecode(path), tree), why))

    store, report = MemoryStore(), Report(on_trouble=tell)
    outcome = archive(store, [os.fsencode(tree)], Options(readers=0), report)
    assert report.troubles == len(told)
    unvac_tree(store, outcome.score, tmp_path / "out")
    return told, {os.fsdecode(path) for path in listing(tmp_path / "out")}


ALL = {".", "a", "b", "c", "below", "below/d", "below/b-again"}


def before_reading(
    monkeypatch: pytest.MonkeyPatch, name: bytes, action: Callable[[], object]
) -> None:
    """Do `action` when the file `name` was looked at and is about to be opened."""
    really = files.open_file

    def open_file(found: bytes, dir_fd: int) -> int:
        if found == name:
            action()
        return really(found, dir_fd)

    monkeypatch.setattr(files, "open_file", open_file)


def test_a_file_that_vanishes(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before_reading(monkeypatch, b"c", (tree / "c").unlink)
    told, there = vac_with_troubles(tree, tmp_path)
    assert told == [("c", "No such file or directory")]
    assert there == ALL - {"c"}


def test_a_file_that_vanishes_between_its_name_and_its_stat(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = walk.list_directory

    def list_directory(fd: int, vanished: Callable[[bytes, OSError], None]) -> object:
        vanished(b"gone", FileNotFoundError(2, os.strerror(2)))
        return really(fd, vanished)

    monkeypatch.setattr(walk, "list_directory", list_directory)
    told, there = vac_with_troubles(tree, tmp_path)
    assert told == [(name, "No such file or directory") for name in ("gone", "below/gone")]
    assert there == ALL


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b"x" * 50_000),
        lambda path: os.truncate(path, 7),
        lambda path: path.write_bytes(b"!" * path.stat().st_size),
        lambda path: path.chmod(0o600),
    ],
)
def test_a_file_that_changes_while_it_is_read(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]
) -> None:
    (tree / "c").chmod(0o644)
    next_tick(tmp_path)
    really = content.store_file

    def store_file(sink: object, fd: int, state: os.stat_result, dsize: int) -> object:
        entry = really(sink, fd, state, dsize)  # type: ignore[arg-type]
        if state.st_ino == (tree / "c").stat().st_ino:
            change(tree / "c")
        return entry

    monkeypatch.setattr(files, "store_file", store_file)
    told, there = vac_with_troubles(tree, tmp_path)
    assert told == [("c", files.CHANGED)]
    assert there == ALL


def test_a_file_that_becomes_shorter_before_it_is_read(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "c").write_bytes(b"x" * 5_000_000)
    really = content._copy

    def copy(builder: object, fd: int, start: int, end: int, dsize: int) -> int:
        os.truncate(tree / "c", 100_000)
        return really(builder, fd, start, end, dsize)  # type: ignore[arg-type]

    monkeypatch.setattr(content, "_copy", copy)
    told, _ = vac_with_troubles(tree, tmp_path)
    assert told == [("c", files.CHANGED)]
    assert (tmp_path / "out" / "c").read_bytes() == b"x" * 100_000


def test_a_file_that_becomes_a_fifo_is_not_waited_for(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace() -> None:
        (tree / "c").unlink()
        os.mkfifo(tree / "c")

    before_reading(monkeypatch, b"c", replace)
    told, there = vac_with_troubles(tree, tmp_path)
    assert told == [("c", files.REPLACED)]
    assert there == ALL - {"c"}


def test_a_file_that_becomes_a_symlink_is_not_followed(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace() -> None:
        (tree / "c").unlink()
        (tree / "c").symlink_to("/etc/passwd")

    before_reading(monkeypatch, b"c", replace)
    told, there = vac_with_troubles(tree, tmp_path)
    assert [name for name, _ in told] == ["c"]
    assert there == ALL - {"c"}


def test_a_directory_that_becomes_a_symlink_is_not_followed(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = walk.open_directory

    def open_directory(name: bytes, dir_fd: int) -> int:
        (tree / "below").rename(tree / "moved")
        (tree / "below").symlink_to("/etc")
        return really(name, dir_fd)

    monkeypatch.setattr(walk, "open_directory", open_directory)
    told, there = vac_with_troubles(tree, tmp_path)
    assert told == [("below", "Not a directory")]
    assert there == {".", "a", "b", "c"}


def test_a_file_with_several_names_that_cannot_be_read_is_told_for_each(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise PermissionError(13, os.strerror(13))

    before_reading(monkeypatch, b"b", refuse)
    told, there = vac_with_troubles(tree, tmp_path)
    assert told == [
        ("b", "Permission denied"),
        ("below/b-again", "a name of b, which could not be read"),
    ]
    assert there == ALL - {"b", "below/b-again"}


def test_the_command_says_what_an_ordinary_user_may_not_read(tree: Path, home: Path) -> None:
    (tree / "a").chmod(0)
    (tree / "closed").mkdir(mode=0)
    done = run(*UNPRIVILEGED, "vac", tree, check=False)
    assert done.returncode == 3
    lines = [line for line in done.stderr.splitlines() if "denied" in line]
    assert lines == [f"vac: {tree}/closed: Permission denied", f"vac: {tree}/a: Permission denied"]
    assert done.stdout.startswith("vac:")
    assert set(run("unvac", "-t", done.stdout.strip()).stdout.split()) == ALL - {".", "a"}


def test_a_store_that_was_named_is_not_made(tree: Path, home: Path) -> None:
    done = run("vac", "-s", home / "store", tree, check=False)
    assert (done.returncode, done.stdout) == (6, "")
    assert not (home / "store").exists()
