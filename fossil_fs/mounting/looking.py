"""Words that show how a mount is."""

from fossil_fs.mounting.mounted import Mounted
from fossil_fs.mounting.word import Answer, Word, refuse_arguments


async def _status(mounted: Mounted, said: list[str]) -> Answer:
    refuse_arguments("status", said)
    return Answer(status_lines(mounted))


def status_lines(mounted: Mounted) -> list[str]:
    """Return the facts of a mount, one `word=value` each."""
    scratch, overlay = mounted.scratch, mounted.filesystem.overlay
    facts = {
        "score": scratch.base,
        "unsaved": int(not scratch.is_clean),
        "used": scratch.used(),
        "size": scratch.budget.size,
        "inodes": len(overlay.table),
        "saves": overlay.saves,
        "failed": overlay.base.faults_failed,
        "since": int(mounted.started),
        "engine": mounted.engine,
    }
    return [f"{word}={value}" for word, value in facts.items()]


async def _last(mounted: Mounted, said: list[str]) -> Answer:
    refuse_arguments("last", said)
    return Answer(text=mounted.scratch.base)


WORDS = (
    Word("status", "", "how the mount is: engine, store, what is unsaved", _status),
    Word("last", "", "the score that was saved or mounted last", _last),
)
