"""The hubs of one shell on a hub mount: their names, and how they are opened."""

import os
import time
from dataclasses import dataclass

HOST_SECONDS_MAX = 5.0  # for a new shell to read its input
NOTE_SIZE_MAX = 256  # bytes in one message to the host


@dataclass(frozen=True, slots=True)
class ShellHubs:
    """`NAME0`, `NAME1`, `NAME2` are the shell's input, output and errors, `NAME.note` its signals.

    A shell on a pseudo-terminal has no `NAME2`: that is how a client knows.
    """

    mount: str
    name: str

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
        """Tell whether this shell runs: its host removes its hubs at the end."""
        return os.path.exists(self.input)

    def is_hosted(self, seconds: float = HOST_SECONDS_MAX) -> bool:
        """Tell whether somebody reads this shell's input; a host that begins has `seconds` for it."""
        deadline = time.monotonic() + seconds
        while True:
            with open(self.ctl, "rb", buffering=0) as ctl:
                status = ctl.read(1 << 20)
            for line in status.splitlines():
                words = line.split()
                if words[:1] == [os.fsencode(f"{self.name}0:")] and words[4] != b"0":
                    return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)

    def on_terminal(self) -> bool:
        return not os.path.exists(self.errors)

    def make(self, *, terminal: bool) -> None:
        """Make the hubs; FileExistsError if another host was quicker."""
        os.close(os.open(self.input, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        for path in [self.output, self.note] + ([] if terminal else [self.errors]):
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


def open_reader(path: str) -> int:
    """Open a hub for reading without waiting: EAGAIN where a read would wait."""
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
