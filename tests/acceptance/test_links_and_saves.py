"""Saves are points in time, and hard links stay links, whatever happens between."""

import os
import threading
from pathlib import Path

import pytest
import trio

from fossil_fs.find import NoSuchPath, find
from fossil_fs.snapshot import open_snapshot
from tests.commands import mounted, output, vac
from venti_store.hashtree.read import read
from venti_store.open import default_path, open_store
from venti_store.score import Score, parse_score

pytestmark = [pytest.mark.fuse, pytest.mark.root]


def test_two_names_of_one_file(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "a").mkdir(parents=True)
    (source / "b").mkdir()
    (source / "a" / "one").write_bytes(b"old" * 50_000)
    os.link(source / "a" / "one", source / "b" / "two")
    with mounted(vac(source), tmp_path / "m1") as m1:
        with (m1 / "a" / "one").open("r+b") as file:
            file.seek(100_000)
            file.write(b"NEW")
        score = output("fossil-save", m1)
        with mounted(score, tmp_path / "m2") as m2:
            one, two = (m2 / "a" / "one").stat(), (m2 / "b" / "two").stat()
            assert (one.st_ino, one.st_nlink, two.st_ino, two.st_nlink) == (
                two.st_ino,
                2,
                one.st_ino,
                2,
            )
            assert (m2 / "a" / "one").read_bytes() == (m2 / "b" / "two").read_bytes()
            assert (m2 / "b" / "two").read_bytes()[100_000:100_003] == b"NEW"
            (m2 / "a" / "one").unlink()
            third = output("fossil-save", m2)
        assert (m1 / "a" / "one").stat().st_nlink == 2  # the other mount is another world
    with mounted(third, tmp_path / "m3") as m3:
        assert (m3 / "b" / "two").stat().st_nlink == 1
        assert not (m3 / "a" / "one").exists()


def test_a_link_made_in_the_mount_is_one_file_after_the_save(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with mounted(vac(empty), tmp_path / "m1") as m1:
        (m1 / "x").write_bytes(b"1")
        os.link(m1 / "x", m1 / "y")
        first = output("fossil-save", m1)
        (m1 / "y").write_bytes(b"22")
        second = output("fossil-save", m1)
    for score, text in ((first, b"1"), (second, b"22")):
        with mounted(score, tmp_path / "m2") as m2:
            assert (m2 / "x").read_bytes() == (m2 / "y").read_bytes() == text
            assert (m2 / "x").stat().st_ino == (m2 / "y").stat().st_ino


@pytest.mark.timeout(300)
def test_fifty_saves_under_four_writers_are_points_in_time(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    stop = threading.Event()
    failures: list[BaseException] = []

    def count(folder: Path) -> None:
        try:
            first = os.open(folder / "file1", os.O_RDWR | os.O_CREAT)
            second = os.open(folder / "file2", os.O_RDWR | os.O_CREAT)
            number = 0
            while not stop.is_set():
                number += 1
                os.pwrite(first, b"%016d" % number, 0)
                os.pwrite(second, b"%016d" % number, 0)
            os.close(first)
            os.close(second)
        except BaseException as error:
            failures.append(error)

    with mounted(vac(empty), tmp_path / "m1") as m1:
        folders = [m1 / f"writer{n}" for n in range(4)]
        for folder in folders:
            folder.mkdir()
        writers = [threading.Thread(target=count, args=(folder,)) for folder in folders]
        for writer in writers:
            writer.start()
        try:
            scores = [output("fossil-save", m1) for _ in range(50)]
        finally:
            stop.set()
            for writer in writers:
                writer.join()
    assert failures == []
    assert len(set(scores)) > 40  # the writers did write between the saves
    seen = 0
    for score in scores:
        for n in range(4):
            one, two = (_number(score, f"writer{n}/{name}") for name in ("file1", "file2"))
            assert two <= one <= two + 1
            seen = max(seen, one)
    assert seen > 50


def _number(score: str, path: str) -> int:
    """Return the number in a file of a saved tree, 0 where there is none yet."""
    return int(trio.run(_read, parse_score(score), path.encode()) or 0)


async def _read(score: Score, path: bytes) -> bytes:
    store = await open_store(default_path(os.environ["XDG_DATA_HOME"]))
    try:
        node, _ = await find(await open_snapshot(store, score), path)
        return b"" if node.content is None else await read(store, node.content, 0, node.size)
    except NoSuchPath:
        return b""
    finally:
        await store.aclose()
