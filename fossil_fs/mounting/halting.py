"""`halt` and `unhalt`: everything is flushed, and changes wait.

A halt ends by itself after a while: who forgot it shall not stop everybody's work for good.
"""

import logging
from typing import Final

import trio

from fossil_fs.mounting.errors import NotServed
from fossil_fs.mounting.mounted import Mounted
from fossil_fs.mounting.saving import take_over
from fossil_fs.mounting.word import Answer, Word, refuse_arguments
from lib9.errors import UsageError

HALT_SECONDS: Final = 600.0
HALT_SECONDS_MAX: Final = 86400.0

log = logging.getLogger(__name__)


async def _halt(mounted: Mounted, said: list[str]) -> Answer:
    seconds = _seconds(said)
    served = mounted.served
    if served is None:
        raise NotServed("halt: the mount is not served")
    await take_over(mounted)
    mounted.halted_until = trio.current_time() + seconds
    mounted.halt_changed.set()
    await served.gate.close()
    await mounted.scratch.commit_gently()
    return Answer()


def _seconds(said: list[str]) -> float:
    if not said:
        return HALT_SECONDS
    try:
        seconds = float(said[0])
    except ValueError:
        seconds = 0.0
    if len(said) > 1 or not 0 < seconds <= HALT_SECONDS_MAX:
        raise UsageError(f"halt {' '.join(said)}: one number of seconds, at most 86400")
    return seconds


async def _unhalt(mounted: Mounted, said: list[str]) -> Answer:
    refuse_arguments("unhalt", said)
    unhalt(mounted)
    return Answer()


def unhalt(mounted: Mounted) -> None:
    """Let changes go on; harmless when nothing is halted."""
    mounted.halted_until = None
    if mounted.served is not None:
        mounted.served.gate.open()


async def end_halts(mounted: Mounted) -> None:
    """End halts that last too long, until cancelled."""
    while True:
        await mounted.halt_changed.wait()
        mounted.halt_changed = trio.Event()
        while mounted.halted_until is not None:
            left = mounted.halted_until - trio.current_time()
            if left <= 0:
                log.warning("halted for too long: changes go on")
                unhalt(mounted)
                break
            with trio.move_on_after(left):
                await mounted.halt_changed.wait()
                mounted.halt_changed = trio.Event()


WORDS = (
    Word("halt", "[SECONDS]", "flush, and let changes wait, 600 s at most or so long", _halt),
    Word("unhalt", "", "let changes go on", _unhalt),
)
