"""Which files are open for writing: the kernel may hold back bytes of those, if it tells what is open."""

from typing import NamedTuple


class Opening(NamedTuple):
    """A time without a break in which a file is open; `number`: no other has it."""

    ino: int
    number: int


class Openings:
    """The openings for writing that go on now. A file whose opening has ended holds nothing back."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[int, int]] = {}  # number and descriptors, by inode
        self._last = 0

    def begin(self, ino: int) -> None:
        """A descriptor more is open."""
        if ino not in self._open:
            self._last += 1
        number, descriptors = self._open.get(ino, (self._last, 0))
        self._open[ino] = number, descriptors + 1

    def end(self, ino: int) -> None:
        """A descriptor was closed."""
        number, descriptors = self._open.get(ino, (0, 0))
        if descriptors > 1:
            self._open[ino] = number, descriptors - 1
        else:
            self.forget(ino)

    def forget(self, ino: int) -> None:
        """The kernel does not know the file any more; harmless when it is not open."""
        self._open.pop(ino, None)

    def now(self) -> list[Opening]:
        return [Opening(ino, number) for ino, (number, _) in self._open.items()]

    def goes_on(self, opening: Opening) -> bool:
        return self._open.get(opening.ino, (0, 0))[0] == opening.number
