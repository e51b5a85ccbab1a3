"""Books of a store on disk: processes side by side, killed between any two steps."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib9.waiting import run_now
from tests.venti_store.names.kit import STO2, TIME, TRUST, naming, signed
from tests.venti_store.names.stores import disk_book, put_tree, tree
from venti_store.hashtree.closure import holes_below
from venti_store.names.folder import LOCK
from venti_store.names.interfaces import State
from venti_store.names.page import SCORENAMES
from venti_store.names.record import Action, unpack
from venti_store.names.view import View

TOP = Path(__file__).parents[3]
SAVER = """
import os, sys
from pathlib import Path
from lib9 import faults
from lib9.waiting import run_now
from tests.venti_store.names.kit import TIME, STO2, naming, signed
from tests.venti_store.names.stores import disk_book, put_tree
from venti_store.interfaces import Block

path, word, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if spec := os.environ.get(faults.VARIABLE):
    faults.arm_kill(spec)

async def save():
    store, book = disk_book(path)
    for number in range(count):
        score = await put_tree(store, f"{word} {number}")
        named = await book.record("usr", score, user="glenda", now_us=TIME)
        await book.share(named.full, "rob", user="glenda", now_us=TIME)
        if number % 2:
            await book.forget(named.full, user="glenda", now_us=TIME)
        print(named.full, flush=True)
    await book.take([signed(naming("theirs", by=STO2), STO2).data])
    await store.aclose()

run_now(save())
"""


def saver(path: Path, word: str, count: int, fault: str = "") -> "subprocess.Popen[str]":
    env = os.environ | {"PYTHONPATH": str(TOP)} | ({"SPAWNGRID_FAULT": fault} if fault else {})
    return subprocess.Popen(
        [sys.executable, "-c", SAVER, str(path), word, str(count)],
        env=env,
        cwd=TOP,
        stdout=subprocess.PIPE,
        text=True,
    )


def settled(path: Path) -> tuple[list[str], View, set[str]]:
    """Return the lines that cat shows, what the log means, and the full names, after a look."""
    store, book = disk_book(path)
    try:
        run_now(book.refresh())
        records = [unpack(record.data)[0] for record in store.names()]
        view = View(records)
        assert book.names() == view.visible()
        for named in view.visible():
            assert run_now(holes_below(store, named.score)) == []
        made = {record.full for record in records if record.action is Action.NAME}
    finally:
        run_now(store.aclose())
    return (path / SCORENAMES).read_text().splitlines(), view, made


def test_ten_savers_at_once_lose_no_record(tmp_path: Path) -> None:
    path = tmp_path / "store"
    run_now(disk_book(path)[0].aclose())
    running = [saver(path, f"saver {n}", 3) for n in range(10)]
    said = [process.communicate(timeout=110)[0].split() for process in running]
    assert [process.returncode for process in running] == [0] * 10
    lines, view, made = settled(path)
    assert made == {full for fulls in said for full in fulls}
    assert len(made) == 30
    assert len(view.visible()) == 20
    assert len(lines) == 1 + 70
    assert view.conflicts() == []
    records = list(view.records())
    assert sorted(r.seq for r in records) == list(range(1, 71))
    names = sorted((r for r in records if r.action is Action.NAME), key=lambda r: r.seq)
    assert [r.time for r in names] == sorted({r.time for r in names})  # in the order of the saves


POINTS = [
    "names.whole",
    "names.signed",
    "names.appended",
    "names.shown",
    "names.judged",
    "names.pending-written",
]


@pytest.mark.parametrize(
    ("point", "hit"), [*((point, 1) for point in POINTS), ("names.appended", 5), ("names.shown", 5)]
)
def test_killed_between_any_two_steps(tmp_path: Path, point: str, hit: int) -> None:
    path = tmp_path / "store"
    run_now(disk_book(path)[0].aclose())
    process = saver(path, "one", 2, f"{point}:{hit}")
    said = process.communicate(timeout=110)[0].split()
    assert process.returncode == -9
    _, view, made = settled(path)
    assert set(said) <= made
    seqs = sorted(r.seq for r in view.records())
    assert seqs == list(range(1, len(seqs) + 1))
    # whoever comes next goes on
    process = saver(path, "two", 2)
    assert len(process.communicate(timeout=110)[0].split()) == 2
    lines, view, made = settled(path)
    assert len(lines) == 1 + len(list(view.records()))
    assert view.conflicts() == []
    store, book = disk_book(path)
    assert [v.state for v in book.pending()] == [State.PENDING]
    run_now(store.aclose())


def test_every_fault_point_is_tried() -> None:
    parts = ("making", "taking", "shown", "pending")
    text = "".join((TOP / f"venti_store/names/{part}.py").read_text() for part in parts)
    assert {f'fault("{point}")' in text for point in POINTS} == {True}
    assert text.count("fault(") == len(POINTS)


def test_a_torn_line_is_mended_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store, book = disk_book(path)

    async def save(word: str) -> None:
        await book.record("usr", await put_tree(store, word), user="glenda", now_us=TIME)

    run_now(save("one"))
    with (path / SCORENAMES).open("a") as file:
        file.write("scorename=usr.0123456789abcdef rootscore=vac:00")
    run_now(save("two"))
    assert len(book.names()) == 2
    run_now(store.aclose())
    assert len(settled(path)[0]) == 3
    assert {p.name for p in path.iterdir()} == {SCORENAMES, LOCK, "data.mdb", "lock.mdb"}


def test_two_openings_see_what_the_other_did(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store, one = disk_book(path)
    other_store, other = disk_book(path)

    async def save() -> None:
        score = await put_tree(store, "one")
        named = await one.record("usr", score, user="glenda", now_us=TIME)
        assert other.find("usr", "glenda") == named
        await other.forget("usr", user="glenda", now_us=TIME)
        assert one.names() == []

    run_now(save())
    run_now(store.aclose())
    run_now(other_store.aclose())


async def test_many_tasks_of_one_process(tmp_path: Path) -> None:
    import trio

    store, book = disk_book(tmp_path / "store")
    score, blocks = tree("one")
    await store.put_many(blocks)
    await store.sync()
    _, second = disk_book(tmp_path / "store")
    async with trio.open_nursery() as nursery:
        for number in range(45):  # more than trio has threads
            one = book if number % 2 else second
            nursery.start_soon(lambda b=one: b.record("usr", score, user="glenda", now_us=TIME))
    assert [named.seq for named in book.names()] == list(range(1, 46))
    theirs = [signed(naming(score=score, by=STO2, seq=n), STO2).data for n in range(1, 300)]
    verdicts = await book.take(theirs)
    assert {v.state for v in verdicts} == {State.RECORDED}
    assert len(book.names()) == 45 + 299
    assert TRUST.origins
    await store.aclose()
    await second._store.aclose()
