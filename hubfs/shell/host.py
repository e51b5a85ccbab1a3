"""The host of one shell: starts it with hubs for descriptors and passes signals on to it."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Sequence

from hubfs.shell.hubs import MOUNT_VARIABLE, NOTE_SIZE_MAX, ShellHubs, open_reader

_CHUNK = 64 << 10


def run_on_hubs(hubs: ShellHubs, command: Sequence[str]) -> int:
    """Run a shell on its hubs until it ends; return its exit status. The hubs exist."""
    with (
        open(hubs.input, "rb", buffering=0) as stdin,
        open(hubs.output, "ab", buffering=0) as stdout,
        open(hubs.errors, "ab", buffering=0) as stderr,
    ):
        shell = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env={**os.environ, **_own_variables(hubs), "PS1": f"{hubs.name}; "},
            start_new_session=True,
        )

    def interrupt() -> None:
        os.killpg(shell.pid, signal.SIGINT)

    _follow_notes(hubs, interrupt, lambda _rows, _columns: None)
    try:
        return shell.wait()
    finally:
        hubs.remove()


def run_on_terminal(hubs: ShellHubs, command: Sequence[str]) -> int:
    """Run a shell on a pseudo-terminal whose other side are the hubs; return its exit status."""
    pid, master = pty.fork()
    if pid == 0:
        try:
            os.execvpe(command[0], list(command), {**os.environ, **_own_variables(hubs)})
        except OSError as error:
            os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        finally:
            os._exit(127)  # never on into the host's code

    def resize(rows: int, columns: int) -> None:
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    _follow_notes(hubs, lambda: _interrupt(master), resize)
    try:
        _copy(hubs, master)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        hubs.remove()


def _own_variables(hubs: ShellHubs) -> dict[str, str]:
    return {MOUNT_VARIABLE: hubs.mount}


def _interrupt(master: int) -> None:
    os.write(master, b"\x03")


def _copy(hubs: ShellHubs, master: int) -> None:
    """Carry bytes both ways until the shell's side of the terminal closes.

    Neither way may wait for the other: a program that does not read what was typed goes on printing.
    """
    reader = open_reader(hubs.input)
    writer = os.open(hubs.output, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    os.set_blocking(master, False)
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    poll.register(master, select.POLLIN)
    typed = b""
    try:
        while True:
            for descriptor, events in poll.poll():
                if descriptor == reader:
                    typed, ended = _typed(reader)
                elif events & ~select.POLLOUT:
                    try:
                        os.write(writer, os.read(master, _CHUNK))
                    except BlockingIOError:
                        continue
                    except OSError:  # EIO: the last process on the terminal has ended
                        return
                    continue
                else:
                    ended = False
                typed = typed[_write_some(master, typed) :]
                # what was typed is passed on before more of it is read
                if not ended:
                    poll.register(reader, 0 if typed else select.POLLIN)
                elif not typed:
                    poll.unregister(reader)
                poll.register(master, select.POLLIN | (select.POLLOUT if typed else 0))
    finally:
        os.close(reader)
        os.close(writer)


def _typed(reader: int) -> tuple[bytes, bool]:
    """Return what was typed, and whether that was all: the input hub was removed."""
    try:
        data = os.read(reader, _CHUNK)
    except BlockingIOError:
        return b"", False
    # end of file is a character on a terminal
    return data or b"\x04", not data and not _is_there(reader)


def _is_there(descriptor: int) -> bool:
    """Tell whether the hub still has a name."""
    try:
        return os.fstat(descriptor).st_nlink > 0
    except OSError:  # its mount is gone
        return False


def _write_some(master: int, data: bytes) -> int:
    try:
        return os.write(master, data) if data else 0
    except BlockingIOError:
        return 0


def _follow_notes(
    hubs: ShellHubs, interrupt: Callable[[], None], resize: Callable[[int, int], None]
) -> None:
    thread = threading.Thread(target=_notes, args=(hubs, interrupt, resize), daemon=True)
    thread.start()


def _notes(
    hubs: ShellHubs, interrupt: Callable[[], None], resize: Callable[[int, int], None]
) -> None:
    reader = open_reader(hubs.note)
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while True:
        poll.poll()
        try:
            words = os.read(reader, NOTE_SIZE_MAX).split()
        except BlockingIOError:
            continue
        except OSError:
            return
        if words == [b"interrupt"]:
            interrupt()
        elif len(words) == 3 and words[0] == b"size" and all(w.isdigit() for w in words[1:]):
            resize(min(int(words[1]), 65535), min(int(words[2]), 65535))
        elif not words and not _is_there(reader):
            return


def main(mount: str, name: str, *, terminal: bool) -> int:
    """Host one shell of the user, $SHELL or sh, until it ends."""
    hubs = ShellHubs(mount, name)
    if terminal:
        return run_on_terminal(hubs, [os.environ.get("SHELL") or "/bin/sh"])
    return run_on_hubs(hubs, ["/bin/sh", "+m", "-i"])  # without a terminal there is no job control


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2], terminal="--terminal" in sys.argv[3:]))
