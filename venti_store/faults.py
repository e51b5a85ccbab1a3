"""Errors over the wire: what a store raised at one end is raised again at the other."""

from lib9.errors import Refused, SpawngridError
from venti_store.errors import (
    BlockTooLarge,
    CorruptBlock,
    HashMismatch,
    LogDiverged,
    NoSuchBlock,
    ReadOnly,
    StoreError,
    StoreFull,
    Unreachable,
)
from venti_store.interfaces import Key
from venti_store.kind import to_memory
from venti_store.wire import Error, Fault

_FAULTS: dict[type[SpawngridError], Fault] = {
    NoSuchBlock: Fault.NO_SUCH_BLOCK,
    CorruptBlock: Fault.CORRUPT_BLOCK,
    BlockTooLarge: Fault.BLOCK_TOO_LARGE,
    StoreFull: Fault.STORE_FULL,
    ReadOnly: Fault.READ_ONLY,
    HashMismatch: Fault.BAD_REQUEST,
    Refused: Fault.REFUSED,
    Unreachable: Fault.UNREACHABLE,
    LogDiverged: Fault.LOG_DIVERGED,
}
_ERRORS: dict[Fault, type[SpawngridError]] = {fault: kind for kind, fault in _FAULTS.items()} | {
    Fault.BAD_REQUEST: StoreError
}
_REASON_SIZE_MAX = 1000  # bytes; a string holds 1024

# how plan9port's server begins its errors
_NO_BLOCK = "no block with score "
_TOO_LARGE = "lump too large"
_TOO_SMALL = "read too small"
_READ_ONLY = "read only"


def error_message(error: SpawngridError) -> Error:
    """Return the reply of our own versions for `error`."""
    return Error(_short(str(error)), _FAULTS.get(type(error), Fault.OTHER))


def classic_error_message(error: SpawngridError, key: Key | None = None) -> Error:
    """Return the classic reply for `error`, in the words that Plan 9's programs know."""
    match error:
        case NoSuchBlock() if key is not None:
            return Error(f"{_NO_BLOCK}{key.score.hex()}/{to_memory(key.kind)} exists")
        case BlockTooLarge():
            return Error(_TOO_LARGE)
        case ReadOnly():
            return Error(_READ_ONLY)
        case _:
            return Error(_short(str(error)))


def too_small(asked: int, size: int) -> Error:
    """Return the reply to a read that asked for less than the block has."""
    return Error(f"{_TOO_SMALL}: asked for {asked} need at least {size}")


def is_too_small(reply: Error) -> bool:
    """Tell whether a classic server means: the block is there, but larger than asked for."""
    return reply.reason.startswith(_TOO_SMALL)


def is_no_block(reply: Error) -> bool:
    """Tell whether a classic server means: no such block."""
    return reply.reason.startswith(_NO_BLOCK)


def error_of(reply: Error, place: str, *, native: bool) -> SpawngridError:
    """Return what to raise for a reply of the server at `place`."""
    text = f"{place}: {reply.reason}"
    if native:
        return _ERRORS.get(reply.fault, StoreError)(text)
    if is_no_block(reply):
        return NoSuchBlock(text)
    if reply.reason == _TOO_LARGE:
        return BlockTooLarge(text)
    if reply.reason == _READ_ONLY:
        return ReadOnly(text)
    return StoreError(text)


def _short(text: str) -> str:
    clean = text.replace("\0", "?").encode(errors="replace")[:_REASON_SIZE_MAX]
    return clean.decode(errors="ignore")
