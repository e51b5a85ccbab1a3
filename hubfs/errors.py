"""What can be wrong with what a user asks of hubs."""

from lib9.errors import Exit, SpawngridError


class HubError(SpawngridError):
    """What was asked of a hub cannot be done."""


class BadCommand(HubError):
    """This text is no control command."""

    exit_code = Exit.USAGE


class NoSuchHub(HubError):
    """No hub has this name."""

    exit_code = Exit.NOT_FOUND


class MountGone(HubError):
    """The hub mount has ended while it was used."""

    exit_code = Exit.MOUNT


class MessageTooLarge(HubError):
    """A write exceeds the largest message; nothing of it was stored."""
