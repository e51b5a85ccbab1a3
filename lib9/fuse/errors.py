"""What can go wrong with a mount as a whole (a handler's errors are errnos: failures.py)."""

from typing import ClassVar

from lib9.errors import Exit, SpawngridError


class MountFailed(SpawngridError):
    """No /dev/fuse, no right to mount, or the mount point cannot be used."""

    exit_code: ClassVar[Exit] = Exit.MOUNT


class NotMounted(SpawngridError):
    """Nothing is mounted there, or not a FUSE file system."""

    exit_code: ClassVar[Exit] = Exit.NOT_FOUND


class MountBusy(SpawngridError):
    """Something still uses the mount: open files, a working directory, a mount below."""

    exit_code: ClassVar[Exit] = Exit.MOUNT


class DaemonFailed(MountFailed):
    """What kept a mount's daemon from starting."""

    def __init__(self, text: str, status: Exit) -> None:
        super().__init__(text)
        self.exit_code = status  # type: ignore[misc]  # that of the daemon
