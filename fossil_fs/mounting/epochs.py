"""A save in two steps: `epoch` takes the state of a tree that is held still, `saved` has the score."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from fossil_fs.mounting.word import Answer, Word, refuse_arguments
from fossil_fs.overlay.save import SaveRunning
from lib9.errors import SpawngridError
from venti_store.score import format_score

if TYPE_CHECKING:
    from fossil_fs.mounting.mounted import Mounted


class NothingBegun(SpawngridError):
    """The result was asked for of a save that nobody began."""


@dataclass(slots=True)
class BegunSave:
    """Where a save in two steps has got to."""

    taken: trio.Event = field(default_factory=trio.Event)
    done: trio.Event = field(default_factory=trio.Event)
    score: str = ""
    error: SpawngridError | OSError | None = None

    async def run(self, mounted: "Mounted") -> None:
        """Save; whatever goes wrong is for who asks `saved`."""
        try:
            async with mounted.saving:
                self.score = format_score(await mounted.filesystem.saver.save(self.taken.set))
        except (SpawngridError, OSError) as error:
            self.error = error
        finally:
            self.taken.set()
            self.done.set()


async def _epoch(mounted: "Mounted", said: list[str]) -> Answer:
    refuse_arguments("epoch", said)
    if mounted.begun is not None and not mounted.begun.done.is_set():
        raise SaveRunning("a save is running already")
    mounted.begun = begun = BegunSave()
    assert mounted.background is not None  # the console is served in it
    mounted.background.start_soon(begun.run, mounted)
    await begun.taken.wait()
    if begun.error is not None:
        raise begun.error
    return Answer()


async def _saved(mounted: "Mounted", said: list[str]) -> Answer:
    refuse_arguments("saved", said)
    begun = mounted.begun
    if begun is None:
        raise NothingBegun("no save was begun")
    await begun.done.wait()
    if begun.error is not None:
        raise begun.error
    return Answer(text=begun.score)


WORDS = (
    Word("epoch", "", "begin a save; answered when the state is held", _epoch, hidden=True),
    Word("saved", "", "wait for the score of the save that epoch began", _saved, hidden=True),
)
