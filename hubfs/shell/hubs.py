"""The hubs of one shell on a hub mount: their names, and how they are opened."""

import errno
import os
import time
from dataclasses import dataclass

from hubfs.errors import BadCommand

HOST_SECONDS_MAX = 5.0  # for a new shell to read its input
MAKE_SECONDS_MAX = 1.0  # from the first hub of a shell to the last, its note
MOUNT_VARIABLE = "HUB_MOUNT"  # where its hubs are, in the environment of a shell on hubs
NOTE_SIZE_MAX = 256  # bytes in one message to the host


@dataclass(frozen=True, slots=True)
class ShellHubs:
    """`NAME0`, `NAME1`, `NAME2` are the shell's input, output and errors, `NAME.note` its signals.

    A shell on a pseudo-terminal has no `NAME2`: that is how a client knows.
    """

    mount: str
    name: str

    def __post_init__(self) -> None:
        """BadCommand unless it is a name, or that of a group and one in it."""
        words = self.name.split("/")
        if len(words) > 2 or not all(words) or {".", ".."} & set(words):
            raise BadCommand(f"{self.name!r}: not a name for a shell")

    @property
    def input(self) -> str:
        return os.path.join(self.mount, f"{self.name}0")

    @property
    def output(self) -> str:
        return os.path.join(self.mount, f"{self.name}1")

    @property
    def errors(self) -> str:
        return os.path.join(self.mount, f"{self.name}2")

    @property
    def note(self) -> str:
        return os.path.join(self.mount, f"{self.name}.note")

    @property
    def ctl(self) -> str:
        return os.path.join(self.mount, "ctl")

    def exist(self) -> bool:
        """Tell whether this shell runs: its host removes its hubs at the end.

        Waits for those that somebody is about to make.
        """
        deadline = time.monotonic() + MAKE_SECONDS_MAX
        while os.path.exists(self.input):
            if os.path.exists(self.note) or time.monotonic() > deadline:
                return True
            time.sleep(0.005)
        return False

    def is_hosted(self, seconds: float = HOST_SECONDS_MAX) -> bool:
        """Tell whether somebody reads this shell's input; a host that begins has `seconds` for it."""
        deadline = time.monotonic() + seconds
        while self._status(f"{self.name}0")[3:4] in ([], ["0"]):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def past_size(self) -> int:
        """Return how many bytes of the shell's output somebody is shown who begins to read it now."""
        words = self._status(f"{self.name}1")
        return int(words[1]) if words and "trunc" not in words else 0

    def _status(self, hub: str) -> list[str]:
        """Return the words of the status that follow a hub's name; none if it is not there."""
        with open(self.ctl, encoding="utf-8", errors="replace") as ctl:
            words = [line.split() for line in ctl]
        return next((rest for first, *rest in words if first == f"{hub}:"), [])

    def on_terminal(self) -> bool:
        return not os.path.exists(self.errors)

    def make(self, *, terminal: bool) -> None:
        """Make the hubs; FileExistsError if another host was quicker."""
        os.close(os.open(self.input, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        for path in [self.output, *([] if terminal else [self.errors]), self.note]:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self.tell(f"messages {self.name}.note")

    def remove(self) -> None:
        """Remove the hubs: who reads them gets end of file."""
        for path in (self.input, self.note, self.errors, self.output):
            try:
                os.unlink(path)
            except OSError:  # the mount may be gone, and some never were
                continue

    def tell(self, command: str) -> None:
        """Give the hub mount a control command."""
        write_all(self.ctl, f"{command}\n".encode())

    def send_note(self, note: str) -> None:
        """Tell the host: `interrupt`, or `size ROWS COLUMNS`."""
        write_all(self.note, note.encode())


def write_all(path: str, data: bytes) -> None:
    """Write one message into a hub that exists."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def is_gone(error: OSError) -> bool:
    """Tell whether this error means that the hub mount has ended."""
    return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)


def open_reader(path: str) -> int:
    """Open a hub for reading without waiting: EAGAIN where a read would wait."""
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
