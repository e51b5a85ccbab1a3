"""What can be wrong with a block or a store."""

from lib9.errors import Exit, SpawngridError


class StoreError(SpawngridError):
    """The store cannot be used."""

    exit_code = Exit.STORE


class StoreMissing(StoreError):
    """There is no store at this address."""


class HashMismatch(StoreError):
    """Score and store, or two stores, are of different hash families."""


class StoreFull(StoreError):
    """No space for more blocks; reads go on."""

    exit_code = Exit.NO_SPACE


class ReadOnly(StoreError):
    """This store takes no blocks from here."""


class LogDiverged(StoreError):
    """The log no longer holds what was read from it: the store was restored from an older copy."""


class Unreachable(StoreError):
    """The store did not answer before the deadline."""

    exit_code = Exit.UNREACHABLE


class BadScore(SpawngridError):
    """This text is not a score."""

    exit_code = Exit.USAGE


class NoSuchBlock(SpawngridError):
    """No block with this score and type is here."""

    exit_code = Exit.NOT_FOUND


class CorruptBlock(SpawngridError):
    """A block's bytes are not what its score says; the text names score and place."""

    exit_code = Exit.DAMAGED


class BlockTooLarge(SpawngridError):
    """A block exceeds the limit of the store or of the caller."""

    exit_code = Exit.DAMAGED


class BadTree(SpawngridError):
    """A block from outside makes no sense as a part of a tree: depth, size, entry or root."""

    exit_code = Exit.DAMAGED


class TreeTooLarge(SpawngridError):
    """A stream would exceed what a hash tree can hold: 2^48 bytes, seven levels, its leaves."""
