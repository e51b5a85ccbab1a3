"""Logging set-up, called once by `cli`."""

import logging
import sys


def configure(program: str, *, verbosity: int) -> None:
    """Send log lines to stderr: warnings; with verbosity 1 information, with 2 everything."""
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbosity, 2)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"{program}: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
