"""What a handler's exception means to the program that asked: an errno, never the daemon's end."""

import logging
from errno import EIO, ENOSPC

from lib9.errors import Exit, SpawngridError

_KERNEL_OWN = 512  # errnos from here on never leave the kernel; it refuses such an answer
_log = logging.getLogger("lib9.fuse")


def errno_of(error: Exception, operation: str) -> int:
    """Return the errno to answer; what the caller cannot understand from it goes into the log.

    OSError carries its own. A SpawngridError (a store that is gone, a block that is damaged) is one
    line in the log; anything else is a bug and leaves a traceback.
    """
    if isinstance(error, OSError) and error.errno is not None and 0 < error.errno < _KERNEL_OWN:
        return error.errno
    if isinstance(error, SpawngridError):
        _log.error("%s: %s", operation, error)
        return ENOSPC if error.exit_code is Exit.NO_SPACE else EIO
    _log.error("%s: unexpected error", operation, exc_info=error)
    return EIO
