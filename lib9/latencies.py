"""How often and how long: one count for each power of two of nanoseconds, so that counting is cheap.

A request costs two looks at the clock and one increment, about 0.13 us. A quantile is exact to the
power of two it lies in, and interpolated there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter_ns

BUCKETS = 64  # counts[n]: those of less than 2**n ns and not less than half of that

now_ns = perf_counter_ns


@dataclass(frozen=True, slots=True)
class Summary:
    """`count` requests; times in seconds."""

    count: int
    median_seconds: float
    p99_seconds: float


class Latencies:
    """Counts by kind. Who counts takes the list of a kind once and increments it."""

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}

    def of(self, kind: str) -> list[int]:
        """Return the counts of a kind: `counts[(end_ns - begin_ns).bit_length()] += 1`."""
        return self._counts.setdefault(kind, [0] * (BUCKETS + 1))

    def summaries(self) -> dict[str, Summary]:
        """Return every kind that was seen, the most frequent first."""
        seen = {kind: summary(counts) for kind, counts in self._counts.items() if any(counts)}
        return dict(sorted(seen.items(), key=lambda item: -item[1].count))


def summary(counts: Sequence[int]) -> Summary:
    total = sum(counts)
    return Summary(total, quantile(counts, 0.5), quantile(counts, 0.99))


def quantile(counts: Sequence[int], share: float) -> float:
    """Return the time in seconds that `share` of all took at most; 0.0 where nothing was counted."""
    wanted = share * sum(counts)
    below = 0
    for bucket, count in enumerate(counts):
        if count and below + count >= wanted:
            low, high = (1 << bucket) >> 1, 1 << bucket
            return (low + (high - low) * (wanted - below) / count) / 1e9
        below += count
    return 0.0
