"""The records of the last run: inverse of each other, checked, and gone when they are dropped."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fossil_fs.ingest.remember import (
    UNKNOWN,
    Notes,
    Record,
    number_of,
    pack_names,
    recall,
    unpack_names,
    with_number,
)
from fossil_fs.record import empty_entry
from venti_store.score import BLAKE3

ROOT = BLAKE3.score(b"root")
NAMES = st.lists(
    st.tuples(st.binary(min_size=1, max_size=255), st.binary(max_size=255)), max_size=8
)


@given(NAMES)
def test_names_and_values_come_back(items: list[tuple[bytes, bytes]]) -> None:
    assert list(unpack_names(pack_names(items))) == items


@given(st.binary(min_size=48, max_size=48), st.none() | st.integers(2, 2**63 - 1))
def test_a_signature_says_its_number(sign: bytes, number: int | None) -> None:
    if sign != UNKNOWN:
        assert number_of(with_number(sign, number)) == number
        assert with_number(with_number(sign, number), None) == with_number(sign, None)
    assert with_number(UNKNOWN, number) == UNKNOWN


def record(path: bytes, files: bytes = b"") -> Record:
    source, meta = empty_entry(BLAKE3, directory=True), empty_entry(BLAKE3)
    return Record(path, source, meta, files, b"")


@given(st.dictionaries(st.binary(max_size=300), NAMES, max_size=20))
def test_records_are_found_by_their_path(records: dict[bytes, list[tuple[bytes, bytes]]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/below/memory"
        notes = Notes(file, BLAKE3)
        for path, files in records.items():
            notes.add(record(path, pack_names(files)))
        notes.keep(ROOT, 8192)
        notes.drop()
        memory = recall(file, BLAKE3, ROOT, 8192)
        assert memory is not None
        for path, files in records.items():
            found = memory.find(path)
            assert found == record(path, pack_names(files))
        assert memory.find(b"\xff" * 301) is None
        assert [path.name for path in Path(folder, "below").iterdir()] == ["memory"]


def test_without_keep_the_old_memory_stays(tmp_path: Path) -> None:
    file = str(tmp_path / "memory")
    first = Notes(file, BLAKE3)
    first.add(record(b"a"))
    first.keep(ROOT, 8192)
    second = Notes(file, BLAKE3)
    second.add(record(b"b"))
    second.drop()
    memory = recall(file, BLAKE3, ROOT, 8192)
    assert memory is not None
    assert (memory.find(b"a") is not None, memory.find(b"b")) == (True, None)
    assert [path.name for path in tmp_path.iterdir()] == ["memory"]
