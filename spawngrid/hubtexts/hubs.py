"""Hubs as files of lines: a reader that waits with others in one poll, a writer of whole lines.

A hub mount may be away for a while, when its server is started anew: then reading and writing are
tried again. Readers get only what is written after they opened (gridsvc is in trunc mode).
"""

import errno
import logging
import os
import time
from contextlib import suppress
from typing import Final

log = logging.getLogger("spawngrid")

CHUNK_SIZE: Final = 64 << 10
LINE_SIZE_MAX: Final = 64 << 10  # a longer one is thrown away
_RETRY_SECONDS: Final = 0.5


class HubReader:
    """The lines of one hub. `descriptor` is -1 while the hub is away."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.descriptor = -1
        self._rest = b""
        self._tried = -1e9
        self.opened = 0  # how often: what was written between two times was missed

    def open(self) -> bool:
        """Try to open the hub if it is not; tell whether it is open."""
        now = time.monotonic()
        if self.descriptor < 0 and now - self._tried >= _RETRY_SECONDS:
            self._tried = now
            try:
                self.descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                self.opened += 1
            except OSError as error:
                log.debug("%s: %s", self.path, error.strerror)
        return self.descriptor >= 0

    def lines(self) -> list[str]:
        """Return the lines that are there now; does not wait."""
        if self.descriptor < 0:
            return []
        try:
            data = os.read(self.descriptor, CHUNK_SIZE)
        except BlockingIOError:
            return []
        except OSError as error:
            log.info("%s: %s", self.path, error.strerror)
            self.close()
            return []
        if not data and not self._is_there():
            self.close()
            return []
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_SIZE_MAX:
            log.warning("%s: a line without an end", self.path)
            self._rest = b""
        return [line.decode(errors="replace") for line in whole if line]

    def close(self) -> None:
        if self.descriptor >= 0:
            with suppress(
                OSError
            ):  # ENOTCONN: the mount is dead, the descriptor is closed all the same
                os.close(self.descriptor)
        self.descriptor, self._rest = -1, b""

    def _is_there(self) -> bool:
        try:
            return os.fstat(self.descriptor).st_nlink > 0
        except OSError:
            return False


def append_line(path: str, text: str) -> bool:
    """Append one line to a hub that exists; False if it is away."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode() + b"\n")
        finally:
            os.close(descriptor)
    except OSError as error:
        quiet = error.errno in (errno.ENOENT, errno.ENOTCONN, errno.ECONNABORTED)
        log.log(logging.INFO if quiet else logging.WARNING, "%s: %s", path, error.strerror)
        return False
    return True
