"""Which files are open for writing: the kernel may hold back bytes of those, if it tells what is open."""

from typing import NamedTuple


class Opening(NamedTuple):
    """A time without a break in which a file is open; `number`: no other has it."""

    ino: int
    number: int


class Openings:
    """The openings for writing that go on now. A file whose opening has ended holds nothing back."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}  # descriptors, by inode
        self._numbers: dict[int, int] = {}
        self._last = 0

    def begin(self, ino: int) -> None:
        """A descriptor more is open."""
        if ino not in self._counts:
            self._last += 1
            self._numbers[ino] = self._last
        self._counts[ino] = self._counts.get(ino, 0) + 1

    def end(self, ino: int) -> None:
        """A descriptor was closed."""
        count = self._counts.get(ino, 0) - 1
        if count > 0:
            self._counts[ino] = count
        else:
            self.forget(ino)

    def forget(self, ino: int) -> None:
        """The kernel does not know the file any more; harmless when it is not open."""
        if self._counts.pop(ino, 0):
            del self._numbers[ino]

    def now(self) -> list[Opening]:
        return [Opening(ino, number) for ino, number in self._numbers.items()]

    def goes_on(self, opening: Opening) -> bool:
        return self._numbers.get(opening.ino) == opening.number
