"""What a console's word is, and how a line of words is done: the same for socket, file and command.

Who adds a word adds a row to `table.WORDS`; the console, `ctl`, `help`, `fossil-con` and the
reference page have it then.
"""

import shlex
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from fossil_fs.mounting.errors import NoSuchWord
from fossil_fs.mounting.mounted import Mounted
from lib9.errors import UsageError

LINE_MAX: Final = 64 << 10  # bytes of one line, either way


class Answer(NamedTuple):
    """Data, one fact a line, and the one thing that was asked for, if there is one."""

    lines: Sequence[str] = ()
    text: str = ""

    @property
    def all(self) -> list[str]:
        return [*self.lines, self.text] if self.text else list(self.lines)


@dataclass(frozen=True, slots=True)
class Word:
    """A command. `run` gets the words behind it; it raises SpawngridError or OSError.

    `hidden`: for the other commands, not for people.
    """

    name: str
    arguments: str
    help: str
    run: Callable[[Mounted, list[str]], Awaitable[Answer]]
    hidden: bool = False


async def say(table: Sequence[Word], mounted: Mounted, line: str) -> Answer:
    """Do what a line says; an empty one is nothing. Quotes as in sh.

    NoSuchWord, UsageError, and whatever the word raises.
    """
    try:
        said = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{line}: {error}") from error
    if not said:
        return Answer()
    word = next((word for word in table if word.name == said[0]), None)
    if word is None:
        raise NoSuchWord(f"{said[0]}: no such word (see help)")
    return await word.run(mounted, said[1:])


def refuse_arguments(word: str, said: Sequence[str]) -> None:
    """UsageError if there are any."""
    if said:
        raise UsageError(f"{word}: takes no arguments")
