"""Unix sockets at paths of any length: the kernel takes 107 bytes, our directories may be deeper."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

PATH_SIZE_MAX = 107  # of sun_path, less its NUL


@contextmanager
def socket_path(path: str) -> Iterator[str]:
    """Give a path that means the same file and is short enough to bind or connect to."""
    if len(os.fsencode(path)) <= PATH_SIZE_MAX:
        yield path
        return
    folder, name = os.path.split(path)
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)
