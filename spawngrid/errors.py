"""What may go wrong with what is asked of the grid."""

from typing import ClassVar

from lib9.errors import Exit, SpawngridError, UsageError


class BadWord(UsageError):
    """A word of a request or of a line in a hub that could mean something else."""


class NoSuchNode(SpawngridError):
    """No node is configured here, or none of this name is known."""

    exit_code: ClassVar[Exit] = Exit.NOT_FOUND


class BadConfig(UsageError):
    """The file that describes a node makes no sense."""


class BadToken(SpawngridError):
    """A token for enrolment that is used, too old, or was never given."""


class NoSuchRequest(SpawngridError):
    """No request of this id is kept here."""

    exit_code: ClassVar[Exit] = Exit.NOT_FOUND


class RequestFailed(SpawngridError):
    """The grid's answer to a request, with its exit status."""

    def __init__(self, text: str, status: Exit) -> None:
        super().__init__(text)
        self.exit_code = status  # type: ignore[misc]  # each answer has its own


class NotAnswering(SpawngridError):
    """A node does not answer, or went away in the middle."""

    exit_code: ClassVar[Exit] = Exit.UNREACHABLE
