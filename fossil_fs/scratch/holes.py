"""Sparse files' data and holes, by pages. Imports nothing heavy: a mount begins with a look at them."""

import errno
import os
from collections.abc import Iterator
from typing import Final

PAGE: Final = 4096
KEEP_SIZE, PUNCH_HOLE = 1, 2  # fallocate(2)


def present(descriptor: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Give the ranges of pages with data that overlap [start, end), merged, cut to it."""
    at = start - start % PAGE
    while at < end:
        try:
            data = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        data -= data % PAGE
        if data >= end:
            return
        hole = os.lseek(descriptor, max(data, at), os.SEEK_HOLE)
        at = hole + -hole % PAGE
        yield max(data, start), min(at, end)


def fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    """Call fallocate(2), which Python has in its POSIX form only."""
    import ctypes

    call = ctypes.CDLL(None, use_errno=True).fallocate
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if call(descriptor, mode, offset, length) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
