import os
from pathlib import Path

import pytest

from ndbdb import database
from ndbdb.database import Database
from ndbdb.errors import DatabaseTooLarge, NoSuchDatabase


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def systems(base: Database) -> list[str]:
    return [record.need("sys") for record in base.records() if record.get("sys")]


def test_listed_first_stays_first(tmp_path: Path) -> None:
    first = write(tmp_path / "local", "database=\n\tfile=local\n\tfile=common\nsys=a\n")
    write(tmp_path / "common", "sys=b\n")
    assert systems(Database(first)) == ["a", "b"]


def test_listed_later_moves_behind(tmp_path: Path) -> None:
    first = write(tmp_path / "local", "database= file=common file=local file=extra\nsys=a\n")
    write(tmp_path / "common", "sys=b\n")
    write(tmp_path / "extra", "sys=c\n")
    assert systems(Database(first)) == ["b", "a", "c"]


def test_not_listed_is_first_and_absolute_names_work(tmp_path: Path) -> None:
    other = write(tmp_path / "elsewhere", "sys=b\n")
    first = write(tmp_path / "local", f"sys=a\ndatabase= file={other} file=missing\n")
    base = Database(first)
    assert systems(base) == ["a", "b"]
    assert base.files() == [first, other, str(tmp_path / "missing")]


def test_its_own_entry_is_searchable(tmp_path: Path) -> None:
    first = write(tmp_path / "local", "database= file=common note=x\n")
    assert Database(first).value("database", "", "note") == "x"


def test_changes_are_seen(tmp_path: Path) -> None:
    first = write(tmp_path / "local", "database= file=common\nsys=a\n")
    base = Database(first)
    assert systems(base) == ["a"]
    common = tmp_path / "common"
    common.write_text("sys=b ip=1\n")
    assert base.value("sys", "b", "ip") == "1"
    status = common.stat()
    common.write_text("sys=b ip=2\n")
    os.utime(common, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert base.value("sys", "b", "ip") == "2"
    common.unlink()
    assert systems(base) == ["a"]
    Path(first).unlink()
    with pytest.raises(NoSuchDatabase, match="no such file"):
        base.texts()


def test_an_unchanged_file_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_SETTLED_NS", 0)
    base = Database(write(tmp_path / "local", "sys=a\n"))

    def fail(name: str) -> bytes:
        raise AssertionError(f"read {name} again")

    monkeypatch.setattr(database, "read_file", fail)
    assert systems(base) == ["a"]


def test_a_change_that_leaves_size_and_times_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "local"
    base = Database(write(file, "sys=a\n"))
    status = file.stat()
    # a change in the same tick of the kernel's clock as the one before
    monkeypatch.setattr(database, "_signature", lambda name: database._signature_of(status))
    file.write_text("sys=b\n")
    assert systems(base) == ["b"]


def test_a_time_that_was_set_back_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_SETTLED_NS", 0)
    file = tmp_path / "local"
    base = Database(write(file, "sys=a\n"))
    status = file.stat()
    while file.stat().st_ctime_ns == status.st_ctime_ns:  # the kernel's clock has ticks
        file.write_text("sys=b\n")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert systems(base) == ["b"]


def test_missing_and_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoSuchDatabase, match="nothere: no such file"):
        Database(str(tmp_path / "nothere"))
    monkeypatch.setattr(database, "FILE_BYTES_MAX", 6)
    Database(write(tmp_path / "six", "sys=a\n"))
    with pytest.raises(DatabaseTooLarge, match="seven"):
        Database(write(tmp_path / "seven", "sys=ab\n"))


def test_the_last_line_without_newline_is_not_read(tmp_path: Path) -> None:
    assert systems(Database(write(tmp_path / "local", "sys=a\nsys=b"))) == ["a"]
