"""The scratch: records, journal, layers, the cap, and what is there after a kill at any point."""

import errno
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fossil_fs.scratch import journal, records
from fossil_fs.scratch.datafiles import DataFiles
from fossil_fs.scratch.errors import (
    NoSuchScratch,
    ScratchDamaged,
    ScratchError,
    ScratchForeign,
    ScratchInUse,
)
from fossil_fs.scratch.journal import Journal, Op, cut, delete, patch, perform, put
from fossil_fs.scratch.metadata import Metadata
from fossil_fs.scratch.place import Identity, create_place, new_id
from fossil_fs.scratch.records import Inode, Layer, inode_key, pack_inode, unpack_inode
from fossil_fs.scratch.scratch import Scratch
from lib9 import faults

UNIT = 64 << 10
PAGE = 4096
keys = st.binary(min_size=1, max_size=20).map(lambda key: b"k" + key)
operations = st.one_of(
    st.builds(put, keys, st.binary(max_size=100)),
    st.builds(delete, keys),
    st.builds(patch, keys, st.integers(0, 50), st.binary(max_size=40)),
    st.builds(cut, keys, st.integers(0, 60)),
)
mutations = st.lists(operations, min_size=1, max_size=5)


def make(tmp_path: Path, size: int = 32 << 20) -> Scratch:
    directory = os.fsencode(tmp_path / "scratch")
    create_place(directory, Identity(new_id(), "vac:00", "memory", "blake3", size))
    return Scratch(directory)


def a_file(**fields: object) -> Inode:
    plain = Inode(1, 0o100644, 0, 0, 0, 1, 0, 0, 0, 0, 0, 5, -1, 0, 0, b"", b"", b"", ())
    return plain._replace(**fields)  # type: ignore[arg-type]


@given(st.lists(mutations, max_size=10), st.integers(0, 2**64 - 1))
def test_records_of_the_journal_come_back(changes: list[list[Op]], generation: int) -> None:
    for ops in changes:
        record = journal.pack_record(ops, generation)
        size, _ = struct.unpack_from("<II", record)
        assert size == len(record) - 8
        assert journal.unpack_payload(record[8:]) == ops


@given(
    st.integers(0, 2**64 - 1),
    st.binary(max_size=60),
    st.lists(st.integers(0, 2**64 - 1), max_size=5),
)
def test_inodes_come_back(big: int, entry: bytes, layers: list[int]) -> None:
    inode = a_file(
        size=big, mtime_ns=-5, content=entry, meta=b"m", layers=tuple(Layer(n, big) for n in layers)
    )
    assert unpack_inode(pack_inode(inode)) == inode
    with pytest.raises(ScratchDamaged):
        unpack_inode(pack_inode(inode)[:-1])


@given(st.binary(max_size=30), st.integers(0, 40), st.binary(max_size=20))
def test_patch_is_what_pwrite_does(old: bytes, offset: int, data: bytes) -> None:
    expected = bytearray(old.ljust(offset, b"\0"))
    expected[offset : offset + len(data)] = data
    assert perform(patch(b"k", offset, data), old) == bytes(expected)


@settings(max_examples=30, deadline=None)
@given(st.lists(mutations, max_size=12), st.sets(st.integers(0, 12)), st.integers(0, 400))
def test_what_was_applied_is_there_after_a_kill(
    tmp_path_factory: pytest.TempPathFactory,
    changes: list[list[Op]],
    commits: set[int],
    torn: int,
) -> None:
    directory = os.fsencode(tmp_path_factory.mktemp("meta"))
    metadata = Metadata(directory)
    states: list[dict[bytes, bytes]] = [{}]
    for number, ops in enumerate(changes):
        metadata.apply(ops)
        state = dict(states[-1])
        for op in ops:
            value = perform(op, state.pop(op.key, None))
            if value is not None:
                state[op.key] = value
        states.append(state)
        if number in commits:
            metadata.commit()
            states = [state]
    metadata.abandon()
    with open(os.path.join(directory, b"journal"), "r+b") as file:
        whole = file.seek(0, 2)
        file.truncate(max(0, whole - torn))  # bytes that a power cut lost
    again = Metadata(directory)
    found = dict(again.scan(b""))
    found.pop(b"\0generation")
    assert found in states
    if not torn:
        assert found == states[-1]
    again.close()


def test_a_journal_of_a_later_commit_is_refused(tmp_path: Path) -> None:
    directory = os.fsencode(tmp_path)
    metadata = Metadata(directory)
    metadata.apply([put(b"a", b"1")])
    metadata.abandon()
    later = Journal(os.path.join(directory, b"journal"))
    later.begin(99)
    later.close()
    with pytest.raises(ScratchDamaged, match="99"):
        Metadata(directory)


def test_a_snapshot_stays_as_it_is(tmp_path: Path) -> None:
    metadata = Metadata(os.fsencode(tmp_path))
    metadata.apply([put(b"ka", b"1"), put(b"kb", b"2")])
    metadata.commit()
    snapshot = metadata.snapshot()
    metadata.apply([delete(b"ka"), put(b"kb", b"3"), put(b"kc", b"4")])
    metadata.commit()
    assert list(snapshot.scan(b"k")) == [(b"a", b"1"), (b"b", b"2")]
    assert list(metadata.scan(b"k")) == [(b"b", b"3"), (b"c", b"4")]
    assert list(metadata.scan(b"k", b"b")) == [(b"c", b"4")]
    snapshot.close()
    metadata.close()


def test_compacting_keeps_everything_and_frees_pages(tmp_path: Path) -> None:
    directory = os.fsencode(tmp_path)
    metadata = Metadata(directory)
    for number in range(200):
        metadata.apply([put(b"%03d" % number, bytes(30_000))])
    metadata.commit()
    metadata.apply([delete(b"%03d" % number) for number in range(1, 200)])
    metadata.commit()
    before = metadata.allocated()
    metadata.compact()
    assert metadata.allocated() < before // 10
    assert metadata.get(b"000") == bytes(30_000)
    metadata.apply([put(b"x", b"y")])
    metadata.abandon()
    again = Metadata(directory)
    assert (again.get(b"x"), again.get(b"001")) == (b"y", None)
    again.close()


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 3 * PAGE)), max_size=8))
@settings(max_examples=30, deadline=None)
def test_present_pages_are_those_written(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, int]]
) -> None:
    files = DataFiles(os.fsencode(tmp_path_factory.mktemp("data")))
    pages = set()
    for page, length in writes:
        files.write(1, page * PAGE, bytes(length))
        pages.update(range(page, page + -(-length // PAGE)))
    found = {
        at // PAGE
        for start, end in files.present(1, 0, 30 * PAGE)
        for at in range(start, end, PAGE)
    }
    assert found == pages
    part = list(files.present(1, PAGE + 5, 2 * PAGE - 5))
    assert part == ([(PAGE + 5, 2 * PAGE - 5)] if 1 in pages else [])
    assert files.allocated == sum(
        path.stat().st_blocks * 512 for path in Path(os.fsdecode(files._directory)).iterdir()
    )
    files.close()


def test_descriptors_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fossil_fs.scratch.datafiles.DESCRIPTORS_MAX", 5)
    files = DataFiles(os.fsencode(tmp_path / "data"))
    before = len(os.listdir("/proc/self/fd"))
    for number in range(50):
        files.write(number, 0, b"%d" % number)
    assert len(os.listdir("/proc/self/fd")) <= before + 5
    assert [files.read(n, 0, 2).rstrip(b"\0") for n in range(50)] == [b"%d" % n for n in range(50)]
    files.sync(range(50))
    assert files.unsynced() == []
    files.close()


def test_a_scratch_is_used_by_one_process_at_a_time(tmp_path: Path) -> None:
    scratch = make(tmp_path)
    with pytest.raises(ScratchInUse):
        Scratch(scratch.directory)
    scratch.close()
    Scratch(scratch.directory).close()


def test_what_is_no_scratch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoSuchScratch):
        Scratch(os.fsencode(tmp_path / "none"))
    scratch = make(tmp_path)
    scratch.close()
    identity = Path(os.fsdecode(scratch.directory)) / "identity"
    text = identity.read_text()
    for bad in ("", text[:9], text.replace("format=1", "format=9"), text.replace("33554432", "x")):
        identity.write_text(bad)
        with pytest.raises(ScratchForeign):
            Scratch(scratch.directory)
    with pytest.raises(ScratchError, match="not an empty"):
        create_place(scratch.directory, Identity("i", "s", "m", "blake3", 1 << 24))
    assert sorted(os.listdir(tmp_path)) == ["scratch"]


def test_recovery_drops_orphans_strays_and_unacknowledged_bytes(tmp_path: Path) -> None:
    scratch = make(tmp_path)
    kept, stray = scratch.next_layer(), scratch.next_layer()
    scratch.files.write(kept, 0, b"a" * 100)
    scratch.files.write(stray, 0, b"b" * 100)
    scratch.apply([put(inode_key(5), pack_inode(a_file(size=100, layers=(Layer(kept, 0),))))])
    scratch.apply(
        [
            put(inode_key(6), pack_inode(a_file(nlink=0))),
            put(records.content_key(6), b"text"),
            put(records.xattr_key(6, b"user.a"), b"v"),
            put(records.orphan_key(6), b""),
        ]
    )
    scratch.files.write(kept, 100, b"c" * 50)
    scratch.abandon()
    again = Scratch(scratch.directory)
    assert again.inode(5) is not None
    assert [rest for rest, _ in again.scan(b"i")] == [records.pack_number(5)]
    assert not list(again.scan(b"c")) + list(again.scan(b"x")) + list(again.scan(b"o"))
    assert again.files.numbers() == [kept]
    assert again.files.length(kept) == 100
    assert again.next_layer() > kept
    again.check()
    again.close()


def du(directory: bytes) -> int:
    total = 0
    for where, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):  # the remover was faster
                total += os.stat(os.path.join(where, name)).st_blocks * 512
    return total


def fill_layers(scratch: Scratch) -> Iterator[int]:
    while True:
        try:
            scratch.admit(UNIT)
        except OSError as error:
            assert error.errno == errno.ENOSPC
            return
        number = scratch.next_layer()
        scratch.files.write(number, 0, os.urandom(UNIT))
        scratch.apply([put(inode_key(number), pack_inode(a_file(layers=(Layer(number, 0),))))])
        assert du(scratch.directory) <= scratch.budget.size
        yield number


def test_the_cap_holds_and_deleting_makes_room(tmp_path: Path) -> None:
    scratch = make(tmp_path, 16 << 20)
    numbers = list(fill_layers(scratch))
    assert len(numbers) * UNIT > 8 << 20
    for number in numbers:
        scratch.apply([delete(inode_key(number))])
        scratch.files.condemn([number])
        assert du(scratch.directory) <= scratch.budget.size
    assert len(list(fill_layers(scratch))) > len(numbers) * 3 // 4
    scratch.close()


def test_room_taken_by_small_files_can_be_had_for_large_ones(tmp_path: Path) -> None:
    scratch = make(tmp_path, 16 << 20)
    count = 0
    with pytest.raises(OSError, match="space"):
        while True:
            scratch.admit(40_000, inline=True)
            scratch.apply([put(records.content_key(count), os.urandom(40_000))])
            count += 1
    assert du(scratch.directory) <= scratch.budget.size
    for number in range(count):
        scratch.apply([delete(records.content_key(number))])
        assert du(scratch.directory) <= scratch.budget.size
    assert len(list(fill_layers(scratch))) * UNIT > 6 << 20
    scratch.close()


def test_a_save_keeps_its_layers_until_it_is_over(tmp_path: Path) -> None:
    scratch = make(tmp_path)
    old = scratch.next_layer()
    scratch.files.write(old, 0, b"x")
    scratch.apply([put(inode_key(5), pack_inode(a_file(layers=(Layer(old, 0),))))])
    frozen = scratch.freeze()
    assert not scratch.layer_is_open(old)
    assert scratch.layer_is_open(scratch.next_layer())
    scratch.apply([delete(inode_key(5))])
    scratch.files.condemn([old])
    scratch.commit()
    inode = frozen.inode(5)
    assert inode is not None
    assert scratch.files.read(inode.layers[0].number, 0, 1) == b"x"
    scratch.thaw(frozen)
    assert scratch.files.numbers() == []
    scratch.close()


class Killed(BaseException):
    pass


POINTS = ["journal.appended", "journal.cut", "commit.data-synced", "commit.metadata-committed",
          "commit.done", "compact.copied", "fsync.data-synced", "fsync.journal-synced"]  # fmt: skip


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("hit", [1, 2, 5])
async def test_a_kill_at_any_point_loses_nothing_acknowledged(
    tmp_path: Path, point: str, hit: int
) -> None:
    scratch = make(tmp_path)
    left = hit

    def action(name: str) -> None:
        nonlocal left
        if name == point:
            left -= 1
            if left == 0:
                raise Killed

    acknowledged = -1
    killed = False
    faults.arm(action)
    try:
        for number in range(40):
            scratch.apply([put(b"k%03d" % number, b"v")])
            acknowledged = number
            if number % 7 == 0:
                scratch.commit()
            if number % 5 == 0:
                await scratch.fsync([])
            if number % 8 == 0:
                scratch.metadata.compact()
    except Killed:
        killed = True
    finally:
        faults.arm(None)
    assert killed, f"{point} was reached less than {hit} times"
    scratch.abandon()
    again = Scratch(scratch.directory)
    found = [int(rest) for rest, _ in again.scan(b"k")]
    assert found[: acknowledged + 1] == list(range(acknowledged + 1))
    assert len(found) <= acknowledged + 2
    again.close()


def test_a_torn_or_foreign_scratch_is_refused_with_one_line(tmp_path: Path) -> None:
    scratch = make(tmp_path)
    scratch.apply([put(b"k", b"v")])
    scratch.abandon()
    place = Path(os.fsdecode(scratch.directory))
    whole = {name: (place / name).read_bytes() for name in ("journal", "metadata", "identity")}
    broken = {
        "journal": [b"x" * 20 + whole["journal"][20:], whole["journal"][:8] + b"\1" * 12],
        "metadata": [b"x" * len(whole["metadata"]), os.urandom(8192)],
        "identity": [b"", b"hello\n", whole["identity"].replace(b"format=1", b"format=7")],
    }
    for name, contents in broken.items():
        for content in contents:
            (place / name).write_bytes(content)
            with pytest.raises(ScratchError) as refused:
                Scratch(scratch.directory)
            assert "\n" not in str(refused.value)
            assert str(refused.value)
        (place / name).write_bytes(whole[name])
    again = Scratch(scratch.directory)
    assert again.get(b"k") == b"v"
    again.close()
