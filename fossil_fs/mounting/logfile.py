"""Where a mount's daemon logs to: a file of bounded size beside its record."""

import logging
import logging.handlers
import os
from contextlib import suppress
from typing import Final

LOG_SIZE_MAX: Final = 1 << 20  # bytes of a daemon's log; one older one is kept


def log_to(log_file: str, program: str) -> None:
    """Send the log of this process to a file, with times."""
    handler = logging.handlers.RotatingFileHandler(
        log_file, maxBytes=LOG_SIZE_MAX, backupCount=1, delay=True
    )
    handler.setFormatter(logging.Formatter(f"%(asctime)s {program}: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]


def remove_if_empty(log_file: str) -> None:
    """Leave no log behind where nothing was said."""
    with suppress(OSError):
        if os.path.getsize(log_file) == 0:
            os.unlink(log_file)
