"""The console's words: the one table that socket, `ctl`, `fossil-con` and the reference go by."""

from typing import Final

from fossil_fs.mounting import acting, checking, counting, epochs, halting, looking, snapping
from fossil_fs.mounting.errors import NoSuchWord
from fossil_fs.mounting.mounted import Mounted
from fossil_fs.mounting.word import Answer, Word


async def _help(_mounted: Mounted, said: list[str]) -> Answer:
    shown = [word for word in WORDS if not word.hidden and (not said or word.name in said)]
    if not shown:
        raise NoSuchWord(f"{said[0]}: no such word")
    return Answer([f"{f'{word.name} {word.arguments}':26} {word.help}" for word in shown])


WORDS: Final = (
    *looking.WORDS,
    *counting.WORDS,
    *acting.WORDS,
    *epochs.WORDS,
    *snapping.WORDS,
    *halting.WORDS,
    *checking.WORDS,
    Word("help", "[WORD]", "what can be said here", _help),
)
