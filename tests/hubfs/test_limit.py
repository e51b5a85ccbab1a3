from hypothesis import given
from hypothesis import strategies as st

from hubfs.limit import HOLD_NS_MAX, Limiter

SECOND = 1_000_000_000


def test_a_burst_is_held_to_its_rate() -> None:
    limiter = Limiter(bytes_per_second=1000)
    assert limiter.hold_ns(100, 0) == 0
    assert limiter.hold_ns(100, 0) == SECOND // 5
    assert limiter.hold_ns(100, SECOND // 5) == SECOND // 10


def test_the_gap_between_writes() -> None:
    limiter = Limiter(gap_ns=1000)
    assert [limiter.hold_ns(1, now) for now in (0, 400, 5000)] == [0, 600, 0]


def test_a_pause_starts_anew() -> None:
    limiter = Limiter(bytes_per_second=1, reset_seconds=2)
    assert limiter.hold_ns(1000, 0) == 0
    assert limiter.hold_ns(1, SECOND) == HOLD_NS_MAX
    assert limiter.hold_ns(1000, 5 * SECOND) == 0


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**10)), max_size=50),
    st.integers(1, 10**9),
)
def test_no_write_is_held_longer_than_the_bound(writes: list[tuple[int, int]], rate: int) -> None:
    limiter = Limiter(bytes_per_second=rate, gap_ns=10**9)
    now = 0
    for size, pause in writes:
        now += pause
        assert 0 <= limiter.hold_ns(size, now) <= HOLD_NS_MAX
