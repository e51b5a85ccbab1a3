"""Which log records were found good since the store was opened: a bit for each."""

VERIFIED_MAX = 1 << 27  # numbers remembered, 16 MiB of bits; later ones are verified every time


class Verified:
    """A set of log numbers, up to a bound. A bit may get lost between threads: then it is checked again."""

    def __init__(self, numbers_max: int = VERIFIED_MAX) -> None:
        self._numbers_max = numbers_max
        self._bits = bytearray()

    def add(self, number: int) -> None:
        place = number >> 3
        if number > self._numbers_max:
            return
        if place >= len(self._bits):
            self._bits.extend(bytes(place + 4096 - len(self._bits)))
        self._bits[place] |= 1 << (number & 7)

    def discard(self, number: int) -> None:
        if number in self:
            self._bits[number >> 3] &= ~(1 << (number & 7))

    def __contains__(self, number: int) -> bool:
        place = number >> 3
        return place < len(self._bits) and bool(self._bits[place] & 1 << (number & 7))
