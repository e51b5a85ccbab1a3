"""What can be wrong with a scratch."""

from lib9.errors import Exit, SpawngridError


class ScratchError(SpawngridError):
    """The scratch cannot be used."""


class NoSuchScratch(ScratchError):
    """There is no scratch here."""

    exit_code = Exit.NOT_FOUND


class ScratchInUse(ScratchError):
    """Another process has the scratch open."""

    exit_code = Exit.MOUNT


class ScratchForeign(ScratchError):
    """This is no scratch, one of a newer program, or one of another root or store."""

    exit_code = Exit.USAGE


class ScratchDamaged(ScratchError):
    """The scratch's own files do not fit together."""

    exit_code = Exit.DAMAGED
