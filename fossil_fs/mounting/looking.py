"""Words that show how a mount is: `status`, `df`, `last`, `who`. None of them asks the mount itself."""

import os
import pwd
from typing import Final

import trio

from fossil_fs.mounting.mounted import Mounted
from fossil_fs.mounting.users import Use, uses_of
from fossil_fs.mounting.word import Answer, Word, refuse_arguments
from lib9.telling import printable

WHO_SECONDS_MAX: Final = 5.0  # for a look at all processes


async def _status(mounted: Mounted, said: list[str]) -> Answer:
    refuse_arguments("status", said)
    return Answer(status_lines(mounted))


def status_lines(mounted: Mounted) -> list[str]:
    """Return the facts of a mount, one `word=value` each; the last may hold spaces."""
    scratch, overlay, store = mounted.scratch, mounted.filesystem.overlay, mounted.store
    trouble = store.trouble
    facts = {
        "engine": mounted.engine,
        "score": scratch.base,
        "unsaved": int(not scratch.is_clean),
        "uncommitted": scratch.metadata.changes,
        "safe": int(is_safe(mounted)),
        "used": scratch.used(),
        "size": scratch.budget.size,
        "place": "ram" if scratch.identity.ram else "disk",
        "scratch": printable(os.fsdecode(scratch.directory)),
        "inodes": len(overlay.table),
        "saves": overlay.saves,
        "snapshots": len(scratch.epochs),
        "failed": overlay.base.faults_failed,
        "halted": int(mounted.is_halted),
        "since": int(mounted.started),
        "store": printable(scratch.identity.store),
        "venti": f"down since {int(store.watched.trouble_since)}: {printable(trouble)}"
        if trouble
        else "ok",
    }
    return [f"{word}={value}" for word, value in facts.items()]


def is_safe(mounted: Mounted) -> bool:
    """Tell whether the power may go: nothing is lost that a program was told is written."""
    scratch = mounted.scratch
    if scratch.identity.ram:
        return scratch.is_clean
    return not scratch.is_uncommitted and not scratch.files.unsynced()


async def _df(mounted: Mounted, said: list[str]) -> Answer:
    """One line for the scratch, as fossil's df has it: the changes, not the tree."""
    refuse_arguments("df", said)
    scratch = mounted.scratch
    total = scratch.budget.data_max
    used = min(scratch.used(), total)
    share = 100 * used / total
    return Answer([f"{used:,} used + {total - used:,} free = {total:,} ({share:.0f}% used)"])


async def _last(mounted: Mounted, said: list[str]) -> Answer:
    refuse_arguments("last", said)
    return Answer(text=mounted.scratch.base)


async def _who(mounted: Mounted, said: list[str]) -> Answer:
    refuse_arguments("who", said)
    minor = mounted.served.minor if mounted.served is not None else -1
    lines = []
    # /proc may keep who asks waiting for a process that is stuck itself: then the thread is left
    with trio.move_on_after(WHO_SECONDS_MAX) as scope:
        uses = await trio.to_thread.run_sync(uses_of, minor, abandon_on_cancel=True)
        lines = [_line(use) for use in uses]
    if scope.cancelled_caught:
        lines = ["(processes cannot be looked at: one of them is stuck)"]
    lines += [f"{_user(uid)} {pid} console" for pid, uid in sorted(mounted.askers)]
    return Answer(lines)


def _line(use: Use) -> str:
    return f"{_user(use.uid)} {use.pid} {printable(use.command)} {printable(use.path)}"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


WORDS = (
    Word("status", "", "engine, score, what is unsaved, whether the power may go, venti", _status),
    Word("df", "", "how full the scratch is", _df),
    Word("last", "", "the score that was saved or mounted last", _last),
    Word("who", "", "who uses the mount: user, process, program, file", _who),
)
