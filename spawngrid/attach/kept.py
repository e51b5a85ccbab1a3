"""Bytes that were sent and may have to be sent again: kept until the other side has them. Pure."""

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Kept:
    """One direction of a session. `sent` counts all bytes ever, `had` those the other side has."""

    size_max: int
    sent: int = 0
    had: int = 0
    _pieces: "deque[tuple[int, int, bytes]]" = field(
        default_factory=deque
    )  # stream, position, data

    @property
    def room(self) -> int:
        """How many bytes may be added now."""
        return max(0, self.size_max - (self.sent - self.had))

    def add(self, stream: int, data: bytes) -> int:
        """Keep bytes and return the position of the first."""
        position = self.sent
        self._pieces.append((stream, position, data))
        self.sent += len(data)
        return position

    def acknowledge(self, position: int) -> None:
        """The other side has everything before `position`; what it cannot have yet is ignored."""
        if not self.had <= position <= self.sent:
            return
        self.had = position
        while self._pieces and self._pieces[0][1] + len(self._pieces[0][2]) <= position:
            self._pieces.popleft()

    def again(self, position: int) -> list[tuple[int, int, bytes]]:
        """Return what is kept from `position` on: stream, position and bytes of each piece."""
        out = []
        for stream, start, data in self._pieces:
            cut = max(0, position - start)
            if cut < len(data):
                out.append((stream, start + cut, data[cut:]))
        return out
