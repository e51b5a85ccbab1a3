"""What lies between a command inside and who has started it: its streams, its signals, its end.

The command has pipes or a terminal made for it, never a descriptor of this machine's.
"""

import fcntl
import os
import select
import signal
import struct
import termios
import tty
from contextlib import suppress
from typing import Any, Final, NamedTuple

_CHUNK: Final = 64 << 10  # what is read ahead of who takes it
_SLICE: Final = 4096  # what a pipe that can be written to takes without waiting (pipe(7))
_KEPT_BACK: Final = {
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGCHLD,
    signal.SIGPIPE,
    signal.SIGURG,
}
SIGNALS: Final = {number for number in signal.valid_signals() if number not in _KEPT_BACK}


class Flow:
    """Bytes from one descriptor to another. `own`: which of the two is closed when the flow has ended."""

    def __init__(self, source: int, sink: int, own: int) -> None:
        self.source, self.sink, self.own = source, sink, own
        self.waiting = b""

    def step(self, events: dict[int, int]) -> bool:
        """Carry on; False at the end."""
        try:
            if self.waiting and self.sink in events:
                self.waiting = self.waiting[os.write(self.sink, self.waiting[:_SLICE]) :]
            elif not self.waiting and self.source in events:
                self.waiting = os.read(self.source, _CHUNK)
                return bool(self.waiting)
        except BlockingIOError:
            return True
        except OSError:  # nobody takes or gives any more
            return False
        return True


class Pipes(NamedTuple):
    """Three pipes; the command's ends are `inner`."""

    inner: tuple[int, int, int]
    inputs: list[Flow]
    outputs: list[Flow]

    @classmethod
    def made(cls) -> "Pipes":
        (in_read, in_write), (out_read, out_write), (err_read, err_write) = (
            os.pipe() for _ in range(3)
        )
        for descriptor in (in_write, out_read, err_read):
            os.set_blocking(descriptor, False)
        return cls(
            (in_read, out_write, err_write),
            [Flow(0, in_write, in_write)],
            [Flow(out_read, 1, out_read), Flow(err_read, 2, err_read)],
        )


class Carrier:
    """Carries until the command has ended and what it said is passed on. `master`: its terminal's, or -1.

    A terminal is as it has to be before the command begins: of the right size, and this process's own raw.
    """

    def __init__(
        self, command: int, inputs: list[Flow], outputs: list[Flow], master: int = -1
    ) -> None:
        self._command, self._master = command, master
        self._inputs, self._outputs = inputs, outputs
        self._pidfd = os.pidfd_open(command)
        self._status: int | None = None
        self._before = None
        if master >= 0:
            os.set_blocking(master, False)
            resize(master)
            self._before = _raw()

    def run(self) -> int:
        """Return the command's exit status, 128+N after signal N."""
        self._pass_signals_on()
        try:
            while self._status is None or self._outputs:
                self._step()
        finally:
            if self._before is not None:
                with suppress(termios.error):  # it is gone
                    termios.tcsetattr(0, termios.TCSANOW, self._before)
        return 128 - self._status if self._status < 0 else self._status

    def _step(self) -> None:
        poll = select.poll()
        if self._status is None:
            poll.register(self._pidfd, select.POLLIN)
        wanted: dict[int, int] = {}
        for flow in self._inputs + self._outputs:
            descriptor = flow.sink if flow.waiting else flow.source
            kind = select.POLLOUT if flow.waiting else select.POLLIN
            wanted[descriptor] = wanted.get(descriptor, 0) | kind
        for descriptor, kinds in wanted.items():
            poll.register(descriptor, kinds)
        # a terminal that its command has left is read to its end, not waited for
        left_behind = self._status is not None and self._master >= 0
        to_say = any(flow.waiting for flow in self._outputs)
        events = dict(poll.poll(0 if left_behind and not to_say else None))
        if self._pidfd in events:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self._command, 0)[1])
            self._end(self._inputs)
        for flows in (self._inputs, self._outputs):
            self._end(flows, [flow for flow in flows if not flow.step(events)])
        if left_behind and not to_say and not events:
            self._end(self._outputs)
        if self._master >= 0 and self._status is None and not (self._inputs and self._outputs):
            self._hang_up()

    def _hang_up(self) -> None:
        """Take the command's terminal away, as this process's own has been."""
        self._inputs.clear()
        self._outputs.clear()
        os.close(self._master)
        self._master = -1

    def _end(self, flows: list[Flow], which: list[Flow] | None = None) -> None:
        for flow in list(flows if which is None else which):
            flows.remove(flow)
            if flow.own >= 0:
                os.close(flow.own)

    def _pass_signals_on(self) -> None:
        for number in SIGNALS:
            with suppress(OSError):  # some are the C library's own
                signal.signal(number, lambda number, _frame: self._signal(number))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _signal(self, number: int) -> None:
        if number == signal.SIGWINCH and self._master >= 0:
            resize(self._master)
        else:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)


def resize(master: int) -> None:
    """Give a terminal the size of this process's own."""
    with suppress(OSError):
        size = fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(struct.calcsize("HHHH")))
        fcntl.ioctl(master, termios.TIOCSWINSZ, size)


def _raw() -> list[Any] | None:
    """Let the terminal that is this process's own pass all on as it is; return how it was."""
    try:
        before: list[Any] = termios.tcgetattr(0)
        tty.setraw(0, termios.TCSANOW)
    except termios.error:  # it is gone already
        return None
    return before
