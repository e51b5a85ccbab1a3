"""What a console's word can say no with."""

from collections.abc import Sequence

from lib9.errors import Exit, SpawngridError


class NoSuchWord(SpawngridError):
    """The console has no such command."""

    exit_code = Exit.USAGE


class NotServed(SpawngridError):
    """The mount does not answer requests yet, or any more."""

    exit_code = Exit.MOUNT


class Found(SpawngridError):
    """A check found something wrong: `lines` say what."""

    exit_code = Exit.DAMAGED

    def __init__(self, text: str, lines: Sequence[str]) -> None:
        super().__init__(text)
        self.lines = lines


class HeldBack(SpawngridError):
    """The kernel holds back writes to a file that is open, and they cannot be had."""

    exit_code = Exit.UNSAVED


class NothingBegun(SpawngridError):
    """The result was asked for of a save that nobody began."""
