"""Words that do something to a mount."""

from fossil_fs.mounting.mounted import Mounted
from fossil_fs.mounting.saving import save, take_over
from fossil_fs.mounting.word import Answer, Word, refuse_arguments
from venti_store.score import format_score


async def _save(mounted: Mounted, said: list[str]) -> Answer:
    refuse_arguments("save", said)
    return Answer(text=format_score(await save(mounted)))


async def _sync(mounted: Mounted, said: list[str]) -> Answer:
    refuse_arguments("sync", said)
    await take_over(mounted)
    await mounted.scratch.commit_gently()
    return Answer()


async def _discard(mounted: Mounted, _said: list[str]) -> Answer:
    mounted.discard = True
    return Answer()


async def _keep(mounted: Mounted, _said: list[str]) -> Answer:
    mounted.discard = mounted.mounting.read_only
    return Answer()


async def _end(mounted: Mounted, _said: list[str]) -> Answer:
    mounted.over.cancel()
    return Answer()


WORDS = (
    Word("sync", "", "put every change on stable storage", _sync),
    Word("save", "", "make a score of what the mount holds now", _save),
    Word("discard", "", "drop the scratch when the mount ends", _discard, hidden=True),
    Word("keep", "", "do not", _keep, hidden=True),
    Word("end", "", "unmount", _end, hidden=True),
)
