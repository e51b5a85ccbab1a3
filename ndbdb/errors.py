"""What can be wrong with a network database."""

from lib9.errors import Exit, SpawngridError


class NdbError(SpawngridError):
    """A network database cannot be used."""


class NoSuchDatabase(NdbError):
    """The first file of the database is not there."""

    exit_code = Exit.NOT_FOUND


class DatabaseTooLarge(NdbError):
    """A file is larger than this program reads into memory."""


class NotADatabase(NdbError):
    """A file is no text of lines, so nothing is appended to it."""


class DatabaseBusy(NdbError):
    """Another program kept the file locked until the deadline."""


class MissingAttribute(NdbError):
    """A record lacks an attribute that its reader needs; the text names file and line."""


class Unprintable(NdbError):
    """The grammar of ndb(6) has no text for this record."""
