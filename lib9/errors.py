"""The root of every error a user may see, and the exit statuses of all commands."""

from enum import IntEnum
from typing import ClassVar


class Exit(IntEnum):
    """Exit statuses, the same for every command (docs/reference/exit-status.md)."""

    OK = 0
    FAILED = 1  # anything without a number of its own
    USAGE = 2  # the command line makes no sense
    PARTIAL = 3  # done, but for what was reported on stderr
    NOT_FOUND = 4  # no such score, name, file or mount
    DAMAGED = 5  # stored bytes are not what their score says, or make no sense
    STORE = 6  # the store is missing, of another hash, newer, not ours, on a network file system
    NO_SPACE = 7  # the disk, the store or the scratch is full
    MOUNT = 8  # no /dev/fuse, no right to mount, mount point unusable or dead
    UNSAVED = 9  # refused: changes would be lost
    UNREACHABLE = 10  # a peer did not answer in time


class SpawngridError(Exception):
    """A fact that ends a command: `str()` is one clear line, `exit_code` its exit status."""

    exit_code: ClassVar[Exit] = Exit.FAILED


class UsageError(SpawngridError):
    """What was asked makes no sense."""

    exit_code = Exit.USAGE


class ProtocolError(SpawngridError):
    """A conversation broke its rules; it cannot go on."""


class LocalProtocolError(ProtocolError):
    """We were about to say what the protocol forbids at this point: a fault on this side."""


class RemoteProtocolError(ProtocolError):
    """The peer said what the protocol forbids: the connection ends."""


class Refused(SpawngridError):
    """The peer knows who asks, and says no; its reason is the text."""


def single_error(error: BaseException) -> BaseException:
    """Return the one error inside groups of one, or the first that a user can be told, or `error`.

    Event loops wrap what a task raised in a group; whoever reports it wants the fact itself.
    """
    if not isinstance(error, BaseExceptionGroup):
        return error
    inner = [single_error(sub) for sub in error.exceptions]
    told = [sub for sub in inner if isinstance(sub, SpawngridError)]
    if len(inner) == 1 or told:
        return (told or inner)[0]
    return error
