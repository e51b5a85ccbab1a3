"""Work by two threads gives what one would, in the same order, with the first error."""

import threading

import pytest

from venti_store.stores.halves import SPLIT_BYTES_MIN, map_halves


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)


def test_both_halves_in_order() -> None:
    threads = set()

    def square(n: int) -> int:
        threads.add(threading.current_thread().name)
        return n * n

    for count in (0, 1, 2, 3, 100):
        for costly in (0, SPLIT_BYTES_MIN - 1, SPLIT_BYTES_MIN):
            threads.clear()
            items = list(range(count))
            assert map_halves(square, items, lambda n: n + 1, costly) == [n * n for n in items]
            split = count >= 2 and costly >= SPLIT_BYTES_MIN
            assert len(threads) == (2 if split else min(count, 1))


@pytest.mark.parametrize("bad", [{1}, {98}, {1, 98}, {0}, {99}])
def test_the_first_error_is_raised(bad: set[int]) -> None:
    def check(n: int) -> int:
        if n in bad:
            raise ValueError(n)
        return n

    with pytest.raises(ValueError) as caught:
        map_halves(check, list(range(100)), lambda n: 1, SPLIT_BYTES_MIN)
    assert caught.value.args == (min(bad),)
    assert map_halves(abs, [-1, 2], lambda n: 1, SPLIT_BYTES_MIN) == [1, 2]


def test_a_second_caller_does_not_wait_for_the_helper() -> None:
    entered, leave = threading.Event(), threading.Event()

    def wait(n: int) -> int:
        entered.set()
        assert leave.wait(20)
        return n

    first = threading.Thread(target=map_halves, args=(wait, [1, 2], lambda n: 1, SPLIT_BYTES_MIN))
    first.start()
    assert entered.wait(20)
    assert map_halves(abs, [-3, -4], lambda n: 1, SPLIT_BYTES_MIN) == [3, 4]
    leave.set()
    first.join()
