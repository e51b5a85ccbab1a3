"""Waiting for replicas of a saved root, by asking this node's replicate daemon."""

import os
from collections.abc import Mapping

from lib9.asking import NobodyThere, ask
from lib9.places import run_directory


def replicate_socket(environ: Mapping[str, str]) -> str:
    """Return where the replicate daemon of this user listens."""
    return os.path.join(run_directory(environ), "replicate.sock")


def wait_replicas(environ: Mapping[str, str], score: str, count: int, seconds_max: float) -> None:
    """Return when `count` peers have all of the root `score`.

    Answered, with exit status UNREACHABLE, after `seconds_max`; NobodyThere without a daemon.
    """
    words = ("wait", str(count), score, str(seconds_max))
    try:
        ask(replicate_socket(environ), *words, seconds_max=seconds_max + 10)
    except NobodyThere as error:
        raise NobodyThere(f"{error}: replicate must run to ask the peers") from None
