"""Saves of a mount whose kernel holds writes back: every write that returned is in them."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from lib9.errors import Exit
from tests.fossil_fs.cli.mounts import Machine, machine_at

pytestmark = pytest.mark.fuse


@pytest.fixture
def machine(home: Path) -> Iterator[Machine]:
    with machine_at(home) as made:
        yield made


@pytest.fixture(params=["shim", "stock"])
def point(machine: Machine, request: pytest.FixtureRequest) -> Path:
    point = machine.point("mnt")
    env = {"SPAWNGRID_ENGINE": request.param}
    machine.mount(machine.root, point, "--writeback", env=env)
    return point


@contextmanager
def held_open(path: Path, data: bytes) -> Iterator[int]:
    """A file that was written to and not closed: the kernel has the bytes."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        assert os.pwrite(descriptor, data, 0) == len(data)
        yield descriptor
    finally:
        os.close(descriptor)


def look(machine: Machine, score: str, name: str) -> bytes:
    return machine.run("fossil-cat", f"{score}:{name}").stdout.encode()


def test_a_save_has_every_write_that_returned(machine: Machine, point: Path) -> None:
    (point / "dir").mkdir()
    (point / "old").write_bytes(b"old")
    with ExitStack() as stack:
        for number in range(20):
            stack.enter_context(held_open(point / "dir" / str(number), b"x" * 5000 * number))
        stack.enter_context(held_open(point / "old", b"new"))
        stack.enter_context(held_open(point / "before", b"renamed"))
        (point / "before").rename(point / "dir" / "after")
        stack.enter_context(held_open(point / "closed to readers", b"secret"))
        (point / "closed to readers").chmod(0o200)
        stack.enter_context(held_open(point / "gone", b"nobody's"))
        (point / "gone").unlink()
        score = machine.save(point)
    for number in range(20):
        assert look(machine, score, f"dir/{number}") == b"x" * 5000 * number
    assert look(machine, score, "old") == b"new"
    assert look(machine, score, "dir/after") == b"renamed"
    assert look(machine, score, "closed to readers") == b"secret"


def test_so_have_snapshots_and_saves_by_ctl(machine: Machine, point: Path) -> None:
    with held_open(point / "f", b"one") as file:
        (point / ".fossilfs/ctl").write_text("snap\n")
        os.pwrite(file, b"two", 0)
        (point / ".fossilfs/ctl").write_text("save\n")
        score = (point / ".fossilfs/ctl").read_text().strip()
        (snapshot,) = (point / ".fossilfs/snapshot").glob("*/*/*/f")
        assert snapshot.read_bytes() == b"one"
    assert look(machine, score, "f") == b"two"


def test_a_halt_begins_with_what_returned(machine: Machine, point: Path) -> None:
    with held_open(point / "f", b"before"):
        machine.run("fossil-con", point, "halt")
        score = machine.save(point)
        machine.run("fossil-con", point, "unhalt")
    assert look(machine, score, "f") == b"before"


def test_what_cannot_be_had_is_said(machine: Machine, point: Path) -> None:
    with held_open(point / "f", b"bytes"):
        (point / "g").hardlink_to(point / "f")
        (point / "g").unlink()  # the last name it was seen under
        said = machine.run("fossil-save", point, status=Exit.UNSAVED).stderr
        assert "g: open, and what was written to it cannot be had" in said
        assert said.count("\n") == 1
    assert look(machine, machine.save(point), "f") == b"bytes"
