"""Counting times: what is found again is right to the power of two."""

from hypothesis import given
from hypothesis import strategies as st

from lib9.latencies import BUCKETS, Latencies, quantile, summary


@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=200), st.sampled_from([0.5, 0.99]))
def test_quantiles_lie_in_the_right_power_of_two(times: list[int], share: float) -> None:
    counts = [0] * BUCKETS
    for time in times:
        counts[time.bit_length()] += 1
    exact = sorted(times)[max(0, -int(-len(times) * share // 1) - 1)]
    found = quantile(counts, share) * 1e9
    assert found / 2 <= exact or exact <= 1
    assert exact <= found * 2


def test_nothing_counted() -> None:
    assert summary([0] * BUCKETS).count == 0
    assert quantile([0] * BUCKETS, 0.99) == 0.0
    assert Latencies().summaries() == {}


def test_kinds_by_frequency() -> None:
    latencies = Latencies()
    latencies.of("rare")[10] += 1
    latencies.of("often")[3] += 9
    latencies.of("never")
    found = latencies.summaries()
    assert list(found) == ["often", "rare"]
    assert found["often"].count == 9
    assert 4e-9 <= found["often"].median_seconds <= 8e-9
