import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndbdb import append as module
from ndbdb.append import append
from ndbdb.database import whole_lines
from ndbdb.errors import DatabaseBusy, NotADatabase, Unprintable
from ndbdb.parser import parse, unparse
from ndbdb.record import Line, Pair, Record
from tests.ndbdb import strategies

LONG = Record(
    (Line((Pair("sys", "a"),)), Line((Pair("ip", "1 2"), Pair("x"))), Line((Pair("y", "z"),)))
)
OLD = "# head\nsys=old ip=0\n"


def stored(path: Path) -> list[Record]:
    return list(parse(whole_lines(path.read_bytes())))


def flat(records: list[Record]) -> list[list[Pair]]:
    return [list(record.pairs()) for record in records]


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "names"
    append(str(path), [LONG, Record.of(("sys", "b"))])
    append(str(path), [])
    append(str(path), [Record.of(("sys", "c"))])
    assert stored(path) == [LONG, Record.of(("sys", "b")), Record.of(("sys", "c"))]
    assert path.read_text() == 'sys=a\n\tip="1 2" x=\n\ty=z\nsys=b\nsys=c\n'


class Killed(BaseException):
    pass


def append_and_die(path: Path, records: list[Record], bytes_until_death: int) -> bool:
    """Append, dying when so many bytes have reached the file; tell whether it came to that."""
    left = bytes_until_death

    def pwrite(descriptor: int, data: bytes, position: int) -> int:
        nonlocal left
        real(descriptor, bytes(data[:left]), position)
        if left < len(data):
            raise Killed
        left -= len(data)
        return len(data)

    real = os.pwrite
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.os, "pwrite", pwrite)
        try:
            append(str(path), records)
        except Killed:
            return True
    return False


@pytest.mark.parametrize("tail", ["", "sys=torn", "\tip=torn", "# torn"])
def test_killed_after_any_byte(tmp_path: Path, tail: str) -> None:
    records = [LONG, Record.of(("sys", "b"), ("note", "é"))]
    path = tmp_path / "names"
    killed_at = 0
    while True:
        path.write_text(OLD + tail)
        before = stored(path)
        died = append_and_die(path, records, killed_at)
        after = stored(path)
        wanted = flat(before + records)
        assert flat(after) in [wanted[:1], wanted[:2], wanted], killed_at
        append(str(path), [Record.of(("sys", "next"))])
        assert flat(stored(path))[: len(after)] == flat(after)
        assert flat(stored(path))[len(after) :] == [[Pair("sys", "next")]]
        if not died:
            break
        killed_at += 1
    assert stored(path)[:-1] == before + records
    assert killed_at > len("".join(map(unparse, records)))


def test_a_torn_line_becomes_a_comment_and_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "names"
    path.write_text("sys=a\nsys=torn ip=")
    append(str(path), [Record.of(("sys", "b"))])
    assert path.read_text() == "sys=a\n#sys=torn ip=\nsys=b\n"


def test_what_is_no_text_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TORN_BYTES_MAX", 8)
    path = tmp_path / "image"
    path.write_bytes(b"\n1234567")
    append(str(path), [Record.of(("sys", "b"))])
    path.write_bytes(b"\n12345678")
    with pytest.raises(NotADatabase, match="image: no newline"):
        append(str(path), [Record.of(("sys", "b"))])
    assert path.read_bytes() == b"\n12345678"


def test_nothing_is_written_if_one_cannot_be_printed(tmp_path: Path) -> None:
    path = tmp_path / "names"
    with pytest.raises(Unprintable):
        append(str(path), [LONG, Record.of(("a b", ""))])
    assert not path.exists()


def test_a_full_disk_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "names"
    path.write_text(OLD)
    real = os.pwrite

    def pwrite(descriptor: int, data: bytes, position: int) -> int:
        if position > len(OLD):
            raise OSError(28, "No space left on device")
        return real(descriptor, data[:5], position)

    monkeypatch.setattr(module.os, "pwrite", pwrite)
    with pytest.raises(OSError, match="No space"):
        append(str(path), [LONG])
    assert path.read_text() == OLD


def test_others_are_waited_for_but_not_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "names"
    with path.open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(DatabaseBusy, match="locked by another program"):
            append(str(path), [LONG], lock_seconds=0.05)
        thread = threading.Thread(target=append, args=(str(path), [LONG]))
        thread.start()
        fcntl.flock(holder, fcntl.LOCK_UN)
    thread.join(10)
    assert stored(path) == [LONG]


def test_a_file_replaced_while_waiting_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "names"
    with path.open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        thread = threading.Thread(target=append, args=(str(path), [LONG]))
        thread.start()
        (tmp_path / "new").write_text(OLD)
        (tmp_path / "new").rename(path)
        fcntl.flock(holder, fcntl.LOCK_UN)
    thread.join(10)
    assert path.read_text() == OLD + unparse(LONG)


WRITER = """
import sys
from ndbdb.append import append
from ndbdb.record import Line, Pair, Record
name = sys.argv[2]
print("ready", flush=True)
for n in range(int(sys.argv[3])):
    pairs = [Pair("n", f"{name}.{n}"), Pair("pad", "x" * 5000), Pair("end", f"{name}.{n}")]
    append(sys.argv[1], [Record(tuple(Line((pair,)) for pair in pairs))])
"""


def test_writers_side_by_side_one_of_them_killed(tmp_path: Path) -> None:
    path = tmp_path / "names"
    count = 20
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), name, str(count if name != "v" else 10**6)],
            stdout=subprocess.PIPE,
        )
        for name in "abv"
    ]
    victim = writers[-1]
    assert victim.stdout is not None
    victim.stdout.readline()
    for writer in writers[:-1]:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    victim.send_signal(signal.SIGKILL)
    victim.communicate(timeout=60)
    append(str(path), [Record.of(("n", "z.0"), ("end", "z.0"))])
    records = stored(path)
    for record in records:
        assert record.get("n") == record.get("end")
    for name in "ab":
        mine = [r.need("n") for r in records if r.need("n").startswith(name)]
        assert mine == [f"{name}.{n}" for n in range(count)]
    assert records[-1].get("n") == "z.0"


@given(st.lists(strategies.records, min_size=1, max_size=3), st.data())
def test_every_prefix_of_the_first_write_is_whole_records(
    records: list[Record], data: st.DataObject
) -> None:
    joined = b"".join(
        module._one_line(unparse(r).encode(errors="surrogateescape")) for r in records
    )
    cut = data.draw(st.integers(0, len(joined)))
    found = flat(list(parse(whole_lines(joined[:cut]))))
    assert found == flat(records)[: len(found)]
    if cut == len(joined):
        assert len(found) == len(records)
