"""The number of a file in an archive made by vac: a hash of its path, so no run's order shows in it."""

from typing import Final

from blake3 import blake3

ROOT_QID: Final = 1
_MASK: Final = (1 << 63) - 1


def qid_of(directory: bytes, name: bytes) -> int:
    """Return the qid of `name` in `directory` (its path from the root, no slash in front): 63 bits."""
    digest = blake3(b"%b/%b" % (directory, name)).digest(length=8)
    return max(int.from_bytes(digest, "big") & _MASK, ROOT_QID + 1)
