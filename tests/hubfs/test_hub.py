"""A hub against a model that keeps everything, and the original's bugs that must not come back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from hubfs.errors import MessageTooLarge
from hubfs.hub import MESSAGES_MAX, Hub, Reader


def test_every_reader_gets_every_byte_in_order() -> None:
    hub = Hub()
    readers = [hub.attach() for _ in range(3)]
    assert hub.read(readers[0], 10) is None
    hub.write(b"hello ")
    assert hub.read(readers[0], 3) == b"hel"
    hub.write(b"world")
    assert [hub.read(r, 100) for r in readers] == [b"lo world", b"hello world", b"hello world"]
    assert hub.read(readers[0], 100) is None


def test_a_new_reader_gets_what_is_kept_or_only_what_is_new() -> None:
    hub = Hub(capacity=8)
    hub.write(b"12345678")
    hub.write(b"9")
    assert hub.read(hub.attach(), 100) == b"23456789"
    hub.only_new = True
    late = hub.attach()
    assert hub.read(late, 100) is None
    hub.write(b"a")
    assert hub.read(late, 100) == b"a"


def test_loss_is_counted_while_the_reader_sleeps() -> None:
    hub = Hub(capacity=10)
    reader = hub.attach()
    hub.write(b"0123456789")
    hub.write(b"abcd")
    assert (hub.lag(reader), hub.lost(reader), reader.lost) == (10, 4, 0)
    assert hub.read(reader, 3) == b"456"
    assert (hub.lag(reader), hub.lost(reader), reader.lost) == (7, 4, 4)


def test_a_message_over_the_maximum_is_refused_whole() -> None:
    hub = Hub(capacity=10, message_size_max=6)
    assert hub.write(b"123456") == 6
    with pytest.raises(MessageTooLarge, match="7 bytes"):
        hub.write(b"1234567")
    assert len(hub) == 6
    with pytest.raises(MessageTooLarge):
        Hub(capacity=4).write(b"12345")


def test_end_of_file_reaches_only_readers_that_wait_and_only_once() -> None:
    hub = Hub()
    waits, sleeps, behind = hub.attach(), hub.attach(), hub.attach()
    hub.write(b"x")
    hub.read(waits, 10)
    hub.read(sleeps, 10)
    waits.waiting = behind.waiting = True
    assert hub.end_of_file() == [waits]
    assert hub.read(waits, 10) == b""
    assert hub.read(waits, 10) is None
    assert hub.read(sleeps, 10) is None
    assert hub.read(behind, 10) == b"x"
    assert hub.read(hub.attach(), 10) == b"x"


def test_readers_of_a_removed_hub_get_the_rest_and_then_the_end() -> None:
    hub = Hub()
    reader = hub.attach()
    hub.write(b"rest")
    hub.close()
    assert [hub.read(reader, 3), hub.read(reader, 3), hub.read(reader, 3)] == [b"res", b"t", b""]


def test_a_buffer_of_48_bytes_repeats_nothing() -> None:
    # the original went back to the start one lap behind and sent its whole buffer again
    hub = Hub(capacity=48)
    reader = hub.attach()
    seen = b""
    for n in range(200):
        hub.write(b"%07d," % n)
        seen += hub.read(reader, 1000) or b""
    assert seen == b"".join(b"%07d," % n for n in range(200))


def test_one_read_is_one_message() -> None:
    hub = Hub(capacity=16)
    hub.set_messages(True)
    reader = hub.attach()
    for message in (b"one", b"two", b"three"):
        hub.write(message)
    assert [hub.read(reader, 100) for _ in range(4)] == [b"one", b"two", b"three", None]
    hub.write(b"0123456789")
    hub.write(b"abcdefgh")  # the earlier ones are no longer whole
    assert [hub.read(reader, 100), hub.read(reader, 100)] == [b"abcdefgh", None]
    assert reader.lost == 10
    assert hub.read(hub.attach(), 4) == b"abcd"


def test_many_tiny_messages_cost_bounded_memory() -> None:
    hub = Hub(capacity=MESSAGES_MAX * 3)
    hub.set_messages(True)
    for _ in range(MESSAGES_MAX * 2 + 10):
        hub.write(b"x")
    assert len(hub) == MESSAGES_MAX
    assert len(hub._ends) <= 2 * MESSAGES_MAX + 1
    assert hub.read(hub.attach(), 10) == b"x"


def test_frozen_it_is_a_plain_file() -> None:
    hub = Hub(capacity=100)
    done, behind = hub.attach(), hub.attach()
    hub.write(b"hello world\n")
    hub.read(done, 100)
    hub.read(behind, 6)
    hub.frozen = True
    assert hub.read_frozen(0, 5) == b"hello"
    assert hub.read_frozen(6, 100) == b"world\n"
    assert hub.read_frozen(12, 100) == b""
    hub.write_frozen(6, b"hubs\n")
    assert hub.read_frozen(0, 100) == b"hello hubs\n"
    hub.write_frozen(13, b"!")
    assert hub.read_frozen(0, 100) == b"hello hubs\n\0\0!"
    with pytest.raises(MessageTooLarge):
        hub.write_frozen(95, b"123456")
    hub.frozen = False
    hub.write(b"after")
    assert hub.read(done, 100) == b"after"
    assert hub.read(behind, 100) == b"hubs\n\0\0!after"


def test_fear_holds_writers_while_a_reader_lags() -> None:
    hub = Hub(fear=True)
    reader = hub.attach()
    hub.write(bytes(77777))
    assert not hub.holds_writers()
    hub.write(b"x")
    assert hub.holds_writers()
    hub.read(reader, 10)
    assert not hub.holds_writers()
    hub.fear = False
    hub.write(bytes(500_000))
    assert not hub.holds_writers()


class Counted(dict[int, Reader]):
    """Readers, and how often all of them were looked at."""

    looks = 0

    def values(self):  # type: ignore[override]
        self.looks += 1
        return super().values()


def test_fear_does_not_look_at_every_reader_at_every_write() -> None:
    hub = Hub(fear=True)
    hub.readers = counted = Counted()
    for _ in range(1000):
        hub.attach()
    for _ in range(1000):  # until all are lapped
        hub.write(bytes(1000))
    reader = hub.attach()
    hub.read(reader, hub.capacity)
    counted.looks = 0
    for _ in range(1000):
        assert not hub.holds_writers()
        hub.write(bytes(1000))
        hub.read(reader, 1000)
    assert counted.looks < 20


_STEP = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 10)),
    st.tuples(st.just("attach"), st.booleans()),
    st.tuples(st.just("detach"), st.integers(0, 9)),
    st.tuples(st.just("read"), st.integers(0, 9)),
    st.tuples(st.just("seek"), st.integers(0, 9), st.integers(0, 25)),
    st.tuples(st.just("cut"), st.integers(0, 20)),
    st.tuples(st.just("clear")),
)


@given(st.lists(_STEP, max_size=80))
def test_fear_holds_writers_for_a_reader_that_lags_and_was_not_lapped(
    steps: list[tuple[str, int, int]],
) -> None:
    hub = Hub(capacity=20, fear=True)
    readers: list[Reader] = []
    for word, *more in steps:
        match word:
            case "write":
                hub.write(bytes(more[0]))
            case "attach":
                hub.only_new = bool(more[0])
                readers.append(hub.attach())
            case "cut":
                hub.resize_frozen(more[0])
            case "clear":
                hub.clear()
            case _ if not readers:
                continue
            case "detach":
                hub.detach(readers.pop(more[0] % len(readers)))
            case "read":
                hub.read(readers[more[0] % len(readers)], 7)
            case "seek":
                hub.seek(readers[more[0] % len(readers)], max(0, hub.end - more[1]))
        lagging = [r for r in readers if hub.start <= r.position < hub.end - 10]
        assert hub.holds_writers() is bool(lagging)


def test_an_empty_hub_costs_no_memory() -> None:
    def pages() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1])

    before = pages()
    hubs = [Hub(capacity=64 << 20) for _ in range(20)]
    assert pages() - before < 64 << 20 >> 12
    assert len(hubs) == 20


class AgainstAModel(RuleBasedStateMachine):
    """The model keeps every byte ever written; a reader's stream is a part of it with known gaps."""

    readers = Bundle("readers")

    def __init__(self) -> None:
        super().__init__()
        self.hub = Hub(capacity=32, message_size_max=20)
        self.written = b""
        self.places: dict[int, int] = {}

    @rule(data=st.binary(max_size=20))
    def write(self, data: bytes) -> None:
        self.hub.write(data)
        self.written += data

    @rule(target=readers, only_new=st.booleans())
    def attach(self, only_new: bool) -> Reader:
        self.hub.only_new = only_new
        reader = self.hub.attach()
        kept = max(0, len(self.written) - 32)
        self.places[reader.number] = len(self.written) if only_new else max(kept, self.hub.start)
        return reader

    @rule(reader=readers, size=st.integers(1, 40))
    def read(self, reader: Reader, size: int) -> None:
        lost = reader.lost
        data = self.hub.read(reader, size)
        place = self.places[reader.number] + reader.lost - lost
        expected = self.written[place : place + size]
        assert data == (expected or None)
        self.places[reader.number] = place + len(expected)

    @rule()
    def clear(self) -> None:
        self.hub.clear()

    @invariant()
    def nothing_is_both_lost_and_kept(self) -> None:
        assert self.hub.end == len(self.written)
        assert 0 <= len(self.hub) <= 32
        for reader in self.hub.readers.values():
            place = self.places[reader.number]
            assert (
                self.hub.lost(reader) - reader.lost + self.hub.lag(reader)
                == len(self.written) - place
            )


TestAgainstAModel = AgainstAModel.TestCase
TestAgainstAModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.binary(min_size=1, max_size=12), max_size=60), st.integers(12, 60))
def test_no_message_is_ever_torn(messages: list[bytes], capacity: int) -> None:
    hub = Hub(capacity=capacity)
    hub.set_messages(True)
    reader = hub.attach()
    got = []
    for number, message in enumerate(messages):
        hub.write(message)
        if number % 5 == 4:
            while (data := hub.read(reader, 100)) is not None:
                got.append(data)
    places = iter(messages)
    assert all(
        any(data == message for message in places) for data in got
    )  # a subsequence, in order
