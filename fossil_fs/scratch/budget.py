"""The cap of a scratch: what may be taken is counted in pages on disk, before it is taken.

New data is admitted up to `size - headroom`. The headroom is for what must always work: deleting,
saving, and the metadata of both. A commit is due before what it may add exceeds its share of it.
"""

from typing import Final

SIZE_MIN: Final = 16 << 20  # bytes; below it the headroom would be nearly all
HEADROOM_MIN: Final = 6 << 20
HEADROOM_MAX: Final = 128 << 20


class Budget:
    """The shares of one cap, in bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.headroom = min(max(size // 8, HEADROOM_MIN), HEADROOM_MAX)
        self.data_max = size - self.headroom
        self.journal_max = min(self.headroom // 8, 4 << 20)
        self.dirty_max = self.headroom // 4

    def room(self, allocated: int, dirty: int) -> int:
        """Return how many bytes of new data may be taken; `dirty`: what a commit may add."""
        return self.data_max - allocated - dirty
