"""Streams carried between who started a command and the command; no environment is needed for it."""

import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from tests.spawngrid.environment.machine import wait_until

_CARRIER = """
import os, sys
from spawngrid.environment.runtimes.carrying import Carrier, Flow, Pipes, SIGNALS
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
pipes = Pipes.made()
command = os.fork()
if command == 0:
    for number, stream in enumerate([os.dup(s) for s in pipes.inner]):
        os.dup2(stream, number)
    os.closerange(3, 99)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execvp(sys.argv[1], sys.argv[1:])
for stream in pipes.inner:
    os.close(stream)
os._exit(Carrier(command, pipes.inputs, pipes.outputs).run())
"""


def carried(*argv: str) -> list[str]:
    return [sys.executable, "-c", _CARRIER, *argv]


def run(argv: Sequence[str], data: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(carried(*argv), input=data, capture_output=True, check=False, timeout=60)


def test_all_of_it_in_both_directions() -> None:
    data = os.urandom(3 << 20)
    assert run(["cat"], data).stdout == data
    done = run(["sh", "-c", "cat >&2; echo out; exit 3"], data)
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", data, 3)


def test_a_command_that_does_not_read_and_one_that_is_not_read() -> None:
    assert run(["true"], bytes(1 << 20)).returncode == 0
    assert run(["head", "-c", "3"], b"abcdef" * 99999).stdout == b"abc"
    carrier = subprocess.Popen(carried("yes"), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert carrier.stdout is not None
    assert carrier.stdout.read(4) == b"y\ny\n"
    carrier.stdout.close()
    assert carrier.wait(60) == 128 + signal.SIGPIPE


def test_what_children_say_later_is_waited_for() -> None:
    assert run(["sh", "-c", "(sleep 0.2; echo late) & exit 5"]).stdout == b"late\n"


def test_signals_go_on_and_the_end_comes_back() -> None:
    script = "trap 'echo winch' WINCH; trap 'echo hup; exit 9' HUP; echo on; while :; do sleep 0.01; done"
    carrier = subprocess.Popen(carried("sh", "-c", script), stdout=subprocess.PIPE)
    assert carrier.stdout is not None
    for number, said in ((0, b"on\n"), (signal.SIGWINCH, b"winch\n"), (signal.SIGHUP, b"hup\n")):
        carrier.send_signal(number)
        assert carrier.stdout.readline() == said
    assert carrier.wait(60) == 9
    carrier.stdout.close()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        carrier = subprocess.Popen(carried("sleep", "1000"))
        wait_until(lambda pid=carrier.pid: _runs_sleep(pid))
        carrier.send_signal(number)
        assert carrier.wait(60) == 128 + number


def _runs_sleep(carrier: int) -> bool:
    done = subprocess.run(
        ["pgrep", "-P", str(carrier), "-x", "sleep"], capture_output=True, check=False
    )
    return done.returncode == 0


_TERMINAL = """
import os, pty, sys, fcntl, termios, signal
from spawngrid.environment.runtimes.carrying import Carrier, Flow, SIGNALS
signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
master, slave = os.openpty()
waits, go = os.pipe()
command = os.fork()
if command == 0:
    os.read(waits, 1)
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for number in range(3):
        os.dup2(slave, number)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.closerange(3, 99)
    os.execvp(sys.argv[1], sys.argv[1:])
os.close(slave)
carrier = Carrier(command, [Flow(0, master, -1)], [Flow(master, 1, -1)], master)
os.write(go, b".")
os._exit(carrier.run())
"""


@contextmanager
def on_a_terminal(script: str) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Give a terminal of 30 by 90, and the carrier of a shell that has another."""
    outer, ours = os.openpty()
    tty.setraw(outer)
    fcntl.ioctl(outer, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 90, 0, 0))
    words = [sys.executable, "-c", _TERMINAL, "sh", "-c", script]
    carrier = subprocess.Popen(words, stdin=ours, stdout=ours, stderr=ours, start_new_session=True)
    os.close(ours)
    try:
        yield outer, carrier
    finally:
        with suppress(OSError):
            os.close(outer)
        carrier.kill()
        carrier.wait()


def test_a_terminal_and_its_size() -> None:
    script = "trap 'stty size' WINCH; stty size; while :; do sleep 0.01; done"
    with on_a_terminal(script) as (outer, carrier):
        assert _line(outer) == b"30 90\r\n"
        fcntl.ioctl(outer, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 91, 0, 0))
        carrier.send_signal(signal.SIGWINCH)
        assert _line(outer) == b"31 91\r\n"
        os.write(outer, b"\x03")
        assert carrier.wait(60) == 128 + signal.SIGINT, "a terminal's keys reach who is inside"


def test_all_that_was_said_on_a_terminal_before_the_end() -> None:
    with on_a_terminal("seq 1 20000; exit 4") as (outer, carrier):
        lines = [_line(outer) for _ in range(20000)]
        assert (lines[-1], carrier.wait(60)) == (b"20000\r\n", 4)


def test_a_terminal_that_goes_away() -> None:
    with on_a_terminal("echo on; while :; do sleep 0.01; done") as (outer, carrier):
        assert _line(outer) == b"on\r\n"
        os.close(outer)
        assert carrier.wait(60) == 128 + signal.SIGHUP


def _line(terminal: int) -> bytes:
    said = b""
    while not said.endswith(b"\n"):
        said += os.read(terminal, 1)
    return said
