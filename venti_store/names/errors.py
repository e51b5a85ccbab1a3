"""What can be wrong with a name or a name record."""

from lib9.errors import Exit, SpawngridError, UsageError


class BadName(UsageError):
    """A name that a root cannot have, or a user who cannot be called so."""


class NoSuchName(SpawngridError):
    """Nothing here is called that, or nothing that this user may see."""

    exit_code = Exit.NOT_FOUND


class AmbiguousName(SpawngridError):
    """The beginning of more than one name or known score."""

    exit_code = Exit.USAGE


class BadNameRecord(SpawngridError):
    """A name record that is not in the one form that records have; the text says where."""

    exit_code = Exit.DAMAGED


class BadSignature(SpawngridError):
    """A name record that was not signed with the key that it states."""

    exit_code = Exit.DAMAGED


class UnknownOrigin(SpawngridError):
    """A name record signed with a key whose names are not accepted here."""


class RootIncomplete(SpawngridError):
    """A root without all of its blocks in this store: it gets no name before they are here."""

    exit_code = Exit.DAMAGED


class NamesBusy(SpawngridError):
    """Another process kept a store's names locked until the deadline."""


class TooManyWaiting(SpawngridError):
    """More name records wait for their blocks than are kept; the oldest must be settled first."""
