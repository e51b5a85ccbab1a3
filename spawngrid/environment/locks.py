"""Locks between processes: a file, held as long as a descriptor of it is open."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

LOCK_SECONDS_MAX: Final = 60.0  # an environment that is being started, saved or stopped by another


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold a lock file; the kernel drops it when this process dies. TimeoutError."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + LOCK_SECONDS_MAX
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{path}: held by another for too long") from None
                time.sleep(0.005)
        yield
    finally:
        os.close(descriptor)
