"""Requests: their ids, their bytes, and how they are kept."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib9 import faults
from lib9.errors import RemoteProtocolError
from spawngrid.attach import wire as attach
from spawngrid.attach.kept import Kept
from spawngrid.errors import NoSuchRequest, RequestFailed
from spawngrid.messages import Frames, Table
from spawngrid.request import queue as queues
from spawngrid.request import wire
from spawngrid.request.ids import is_id, new_id
from spawngrid.request.queue import Queue
from tests.hubfs.test_net_wire import values


def messages(table: Table) -> st.SearchStrategy:
    return st.one_of(
        *(
            st.builds(kind, *(values(field) for field in layout.fields))
            for kind, layout in table.layouts.items()
        )
    )


BOTH = st.sampled_from([wire.TABLE, attach.TABLE])


@given(BOTH.flatmap(lambda table: st.tuples(st.just(table), messages(table))))
def test_what_is_packed_is_unpacked(pair: tuple[Table, object]) -> None:
    table, message = pair
    assert table.unpack(memoryview(table.pack(message))) == message
    frames = Frames(table)
    data = table.framed(message)
    frames.feed(data[:3])
    assert list(frames.received()) == []
    frames.feed(data[3:])
    assert list(frames.received()) == [message]


@given(BOTH, st.binary(max_size=200))
def test_no_bytes_break_more_than_the_protocol(table: Table, body: bytes) -> None:
    try:
        message = table.unpack(memoryview(body))
    except RemoteProtocolError:
        return
    assert table.pack(message) == body


def test_golden_bytes() -> None:
    ask = wire.Ask(1, b"m" * 2, ("spawn", "clean"))
    assert wire.TABLE.pack(ask).hex() == ("0100000001026d6d000000020005737061776e0005636c65616e")
    assert attach.TABLE.pack(attach.Output(1, 16, b"hi")).hex() == "120100000000000000106869"


@given(st.lists(st.integers(0, 1 << 61), min_size=2, max_size=20), st.integers(0, 1 << 32))
def test_ids_sort_by_the_order_in_which_they_were_made(times: list[int], luck: int) -> None:
    made: list[str] = []
    for now in times:  # also when the clock is set back
        made.append(new_id(now, luck, made[-1] if made else ""))
    assert made == sorted(set(made))
    assert all(map(is_id, made))


@pytest.mark.parametrize(
    "text", ["", "0" * 15, "0" * 17, "../x" + "0" * 12, "0" * 15 + "\n", "i" * 16]
)
def test_what_is_no_id(text: str) -> None:
    assert not is_id(text)


def test_a_request_is_kept_answered_and_said_again(tmp_path: Path) -> None:
    queue = Queue(str(tmp_path / "q"))
    first = queue.add("glenda", ("scores",), "aa")
    second = queue.add("bob", ("scores",), "aa")  # another's mark is another
    assert [r.id for r in queue.queued()] == [first.id, second.id]
    assert queue.answer(first.id).status is None
    queue.say(first.id, "clean", "other")
    queue.end(first.id)
    assert queue.answer(first.id).lines == ("clean", "other")
    assert queue.answer(first.id, after=1).lines == ("other",)
    assert queue.answer(first.id).status == 0
    assert [r.id for r in queue.queued()] == [second.id]
    again = Queue(str(tmp_path / "q")).add("glenda", ("scores",), "aa")
    assert again == first
    assert [r.id for r in queue.queued()] == [second.id]


def test_a_failed_request_stays_failed(tmp_path: Path) -> None:
    queue = Queue(str(tmp_path / "q"))
    request = queue.add("glenda", ("spawn", "nothing"), "")
    queue.end(request.id, 4, "nothing not found for glenda")
    queue.end(request.id, 0)
    answer = queue.answer(request.id)
    assert (answer.status, answer.text) == (4, "nothing not found for glenda")


def test_a_mark_is_for_one_request(tmp_path: Path) -> None:
    queue = Queue(str(tmp_path / "q"))
    queue.add("glenda", ("boom", "a"), "aa")
    with pytest.raises(RequestFailed):
        queue.add("glenda", ("boom", "b"), "aa")


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "DONE_MAX", 3)
    queue = Queue(str(tmp_path / "q"))
    for _ in range(queues.QUEUED_MAX):
        last = queue.add("glenda", ("scores",), "")
    with pytest.raises(RequestFailed):
        queue.add("glenda", ("scores",), "")
    queue.add("bob", ("scores",), "")
    for request in queue.queued():
        queue.end(request.id)
    first = queue.add("bob", ("scores",), "aa")
    queue.end(first.id)
    for make in (lambda: queue, lambda: Queue(str(tmp_path / "q"))):
        again = make()
        for _ in range(20):  # of much that glenda asks, the last is kept, and nobody else's goes
            last = again.add("glenda", ("scores",), "")
            again.end(last.id)
        done = [r.user for r in map(again.find, again._names("done")) if r is not None]
        assert (done.count("glenda"), done.count("bob")) == (3, 2)
        assert again.answer(last.id).status == 0
        assert again.add("bob", ("scores",), "aa") == first


@pytest.mark.parametrize("request_id", ["../done", "0" * 16, "x"])
def test_no_answer_to_what_was_not_asked(tmp_path: Path, request_id: str) -> None:
    with pytest.raises(NoSuchRequest):
        Queue(str(tmp_path / "q")).answer(request_id)


@pytest.mark.parametrize(
    "point", ["queue.before-add", "files.written", "queue.added", "queue.answered"]
)
def test_cut_anywhere_a_request_is_queued_or_done(tmp_path: Path, point: str) -> None:
    class Cut(Exception):
        pass

    def cut(name: str) -> None:
        if name == point:
            raise Cut

    queue = Queue(str(tmp_path / "q"))
    faults.arm(cut)
    try:
        request = queue.add("glenda", ("scores",), "aa")
        queue.say(request.id, "x")
        queue.end(request.id)
    except Cut:
        pass
    finally:
        faults.arm(None)
    fresh = Queue(str(tmp_path / "q"))
    waiting = fresh.queued()
    assert len(waiting) <= 1
    again = fresh.add("glenda", ("scores",), "aa")
    assert waiting in ([], [again])
    fresh.restart(again.id)
    fresh.say(again.id, "x")
    fresh.end(again.id)
    assert fresh.answer(again.id).lines == ("x",)
    assert fresh.answer(again.id).status == 0


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=20), st.integers(0, 400))
def test_what_was_sent_can_be_sent_again(pieces: list[bytes], had: int) -> None:
    kept = Kept(1000)
    for piece in pieces:
        kept.add(1, piece)
    whole = b"".join(pieces)
    kept.acknowledge(had)
    start = had if had <= len(whole) else 0
    assert b"".join(data for _, _, data in kept.again(start)) == whole[start:]
    assert kept.room == 1000 - (len(whole) - start)
