"""A save in two steps: `epoch` takes the state of a tree that is held still, `saved` has the score."""

from functools import partial

from fossil_fs.mounting.begun import BegunSave
from fossil_fs.mounting.errors import NothingBegun
from fossil_fs.mounting.mounted import Mounted
from fossil_fs.mounting.saving import save
from fossil_fs.mounting.word import Answer, Word, refuse_arguments
from fossil_fs.overlay.save import SaveRunning


async def _epoch(mounted: Mounted, said: list[str]) -> Answer:
    refuse_arguments("epoch", said)
    if mounted.begun is not None and not mounted.begun.done.is_set():
        raise SaveRunning("a save is running already")
    mounted.begun = begun = BegunSave()
    assert mounted.background is not None  # the console is served in it
    mounted.background.start_soon(begun.run, partial(save, mounted))
    await begun.taken.wait()
    begun.raise_error()
    return Answer()


async def _saved(mounted: Mounted, said: list[str]) -> Answer:
    refuse_arguments("saved", said)
    begun = mounted.begun
    if begun is None:
        raise NothingBegun("no save was begun")
    await begun.done.wait()
    begun.raise_error()
    return Answer(text=begun.score)


WORDS = (
    Word("epoch", "", "begin a save; answered when the state is held", _epoch, hidden=True),
    Word("saved", "", "wait for the score of the save that epoch began", _saved, hidden=True),
)
