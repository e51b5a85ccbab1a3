"""How fast a hub takes writes: bytes a second, a least gap between writes, a time to forget. Pure."""

from dataclasses import dataclass

RATE_MAX = 1 << 30  # bytes a second; no limit in practice
HOLD_NS_MAX = 640_000_000  # a waiting write stalls all writers of its hub: never longer than this


@dataclass(slots=True)
class Limiter:
    """After each write, `hold_ns` says how long its answer has to wait.

    The budget is `bytes_per_second` since the first write of a burst; a pause longer than
    `reset_seconds` starts a new burst. Writes closer than `gap_ns` wait for the difference.
    """

    bytes_per_second: int = RATE_MAX
    gap_ns: int = 0
    reset_seconds: float = 60.0
    _start_ns: int = -1
    _last_ns: int = 0
    _total: int = 0

    def hold_ns(self, size: int, now_ns: int, *, most_ns: int = HOLD_NS_MAX) -> int:
        """Account for a write of `size` bytes at `now_ns`; return 0 to `most_ns`."""
        if self._start_ns < 0 or now_ns - self._last_ns > self.reset_seconds * 1e9:
            self._start_ns = self._last_ns = now_ns
            self._total = size
            return 0
        self._total += size
        gap = self._last_ns + self.gap_ns - now_ns
        budget = self._total * 1_000_000_000 // self.bytes_per_second - (now_ns - self._start_ns)
        hold = min(max(gap, budget, 0), most_ns)
        self._last_ns = now_ns + hold
        return hold
