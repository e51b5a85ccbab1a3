"""A save that was begun and goes on behind the question that began it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from lib9.errors import SpawngridError
from venti_store.score import Score, format_score


@dataclass(slots=True)
class BegunSave:
    """Where a save in two steps has got to: `taken` when the state is held, `done` when it is stored."""

    taken: trio.Event = field(default_factory=trio.Event)
    done: trio.Event = field(default_factory=trio.Event)
    score: str = ""
    error: SpawngridError | OSError | None = None

    async def run(self, save: Callable[[Callable[[], None]], Awaitable[Score]]) -> None:
        """Run `save(taken)`; whatever goes wrong is for who asks for the score."""
        try:
            self.score = format_score(await save(self.taken.set))
        except (SpawngridError, OSError) as error:
            self.error = error
        finally:
            self.taken.set()
            self.done.set()

    def raise_error(self) -> None:
        if self.error is not None:
            raise self.error
