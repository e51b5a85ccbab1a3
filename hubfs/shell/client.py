"""The client of a shell on hubs: keyboard to its input, its output and errors to the screen.

Lines that begin with `%` are for the client. On a shell with a terminal the keyboard is raw, and
Ctrl-] asks for one such line.
"""

import os
import select
import shlex
import signal
import termios
import time
import tty
from collections.abc import Callable
from dataclasses import dataclass, field

from hubfs.errors import BadCommand
from hubfs.shell.commands import COMMANDS, CTL_WORDS
from hubfs.shell.hubs import MOUNT_VARIABLE, ShellHubs, open_reader, write_all
from hubfs.shell.past import without_questions
from lib9.cli import table

ESCAPE = b"\x1d"  # Ctrl-]
DELAY_MS_MAX = 60_000
REMOTE_SECONDS_MAX = 5.0  # for a new shell to appear
QUIET_MS = 500  # after the end of a script on standard input: so long without output, and we leave
_CHUNK = 64 << 10


@dataclass(slots=True)
class Next:
    """What follows a client that has ended: another shell, made here first or not; None: nothing.

    `typed` is what the user typed after the command that led there.
    """

    name: str | None
    make_here: bool = False
    typed: bytes = b""


@dataclass(slots=True)
class Client:
    """One attachment, from `run` to detach or the end of the shell."""

    hubs: ShellHubs
    keyboard: int = 0
    screen: int = 1
    complaints: int = 2
    typed: bytes = b""
    delays_ms: dict[str, int] = field(default_factory=lambda: {"in": 0, "out": 0, "err": 0})
    _next: Next | None = None
    _line: bytes = b""
    _past_left: int = 0  # bytes to come that were said before this client came, if questions matter
    _begun: bytes = b""  # of a sequence in them
    _script_ended: bool = False

    def run(self) -> Next:
        """Pass bytes until the shell ends or the user leaves; tell what is to follow."""
        raw = self.hubs.on_terminal() and os.isatty(self.keyboard)
        sources = {open_reader(self.hubs.output): ("out", self.screen)}
        self._past_left = self.hubs.past_size() if raw else 0
        if not self.hubs.on_terminal():
            sources[open_reader(self.hubs.errors)] = ("err", self.complaints)
        before = termios.tcgetattr(self.keyboard) if raw else None
        restore = self._catch_signals(raw)
        poll = select.poll()
        for descriptor in [self.keyboard, *sources]:
            poll.register(descriptor, select.POLLIN)
        try:
            if raw:
                tty.setraw(self.keyboard, termios.TCSADRAIN)
            self._lines(self.typed)
            while self._next is None:
                events = poll.poll(QUIET_MS if self._script_ended else None)
                if not events:
                    return Next(None)
                for descriptor, _ in events:
                    if descriptor == self.keyboard:
                        if not self._typed(raw, before):
                            poll.unregister(self.keyboard)
                    elif not self._shown(descriptor, *sources[descriptor]):
                        return Next(None)
            return self._next
        finally:
            restore()
            if before is not None:
                termios.tcsetattr(self.keyboard, termios.TCSADRAIN, before)
            for descriptor in sources:
                os.close(descriptor)

    def _catch_signals(self, raw: bool) -> Callable[[], None]:
        handlers = {signal.SIGINT: lambda *_: self.hubs.send_note("interrupt")}
        if raw:
            handlers[signal.SIGWINCH] = lambda *_: self._send_size()
            self._send_size()
        old = {number: signal.signal(number, handler) for number, handler in handlers.items()}

        def restore() -> None:
            for number, handler in old.items():
                signal.signal(number, handler)

        return restore

    def _send_size(self) -> None:
        size = os.get_terminal_size(self.keyboard)
        self.hubs.send_note(f"size {size.lines} {size.columns}")

    def _typed(self, raw: bool, before: list[object] | None) -> bool:
        """Handle keyboard input; False when there will be no more of it."""
        data = os.read(self.keyboard, _CHUNK)
        if raw:
            self._typed_raw(data, before)
            return bool(data)
        if not data:
            # on a terminal it is one key, and means the program that reads; of a script it is the end
            if os.isatty(self.keyboard):
                self.hubs.tell(f"eof {self.hubs.name}0")
                return True
            self._script_ended = True
            return False
        self._lines(data)
        return True

    def _lines(self, data: bytes) -> None:
        """Handle what was typed, line by line, up to one that leads elsewhere."""
        rest = self._line + data
        while self._next is None:
            line, newline, after = rest.partition(b"\n")
            if not newline:
                break
            rest = after
            if not (line.startswith(b"%") and self.command(line[1:].decode(errors="replace"))):
                self._send(line + b"\n")
        self._line = rest
        if self._next is not None:
            self._next.typed = rest

    def _typed_raw(self, data: bytes, before: list[object] | None) -> None:
        keys, escape, _ = data.partition(ESCAPE)
        if keys:
            self._send(keys)
        if escape and before is not None:
            termios.tcsetattr(self.keyboard, termios.TCSADRAIN, before)  # type: ignore[arg-type]
            os.write(self.screen, b"\r\n%")
            line = os.read(self.keyboard, 1024).decode(errors="replace")
            self.command(line.strip().removeprefix("%"))
            tty.setraw(self.keyboard, termios.TCSADRAIN)

    def _send(self, data: bytes) -> None:
        time.sleep(self.delays_ms["in"] / 1000)
        write_all(self.hubs.input, data)

    def _shown(self, descriptor: int, name: str, screen: int) -> bool:
        """Show what the shell said; False when its hub was removed."""
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return True
        if not data:
            return os.fstat(descriptor).st_nlink > 0
        time.sleep(self.delays_ms[name] / 1000)
        view = memoryview(self._answerable(data))
        while view:
            view = view[os.write(screen, view) :]
        return True

    def _answerable(self, data: bytes) -> bytes:
        """Return what the shell said without the questions that were answered long ago."""
        if self._past_left <= 0:
            return data
        self._past_left -= len(data)
        shown, self._begun = without_questions(self._begun + data)
        return shown if self._past_left > 0 else shown + self._begun

    def command(self, text: str) -> bool:
        """Carry out one `%` line; False (after the list of commands) if it is none."""
        word, *rest = text.split() or [""]
        if word in CTL_WORDS and not rest:
            self.hubs.tell(f"{word} {self.hubs.name}0")
        elif word in self.delays_ms and len(rest) == 1 and rest[0].isdigit():
            self.delays_ms[word] = min(int(rest[0]), DELAY_MS_MAX)
        elif word == "detach" and not rest:
            self._next = Next(None)
        elif word in ("attach", "local", "remote") and len(rest) == 1:
            self._go(word, rest[0])
        elif word == "list" and not rest:
            self._say("\n".join(sorted(os.listdir(self.hubs.mount))))
        elif word == "status" and not rest:
            delays = "  ".join(f"{name} {ms} ms" for name, ms in self.delays_ms.items())
            self._say(f"attached to {self.hubs.name} of {self.hubs.mount}  delays: {delays}")
        elif word == "quit" and not rest:
            self.hubs.tell("quit")
            self._next = Next(None)
        else:
            self._say(table(COMMANDS))
            return False
        return True

    def _go(self, word: str, name: str) -> None:
        try:
            there = ShellHubs(self.hubs.mount, name)
        except BadCommand as error:
            self._say(str(error))
            return
        if word == "remote" and not there.exist():
            # the mount may be called otherwise there
            self._send(f'hub -b "${MOUNT_VARIABLE}" {shlex.quote(name)}\n'.encode())
            deadline = time.monotonic() + REMOTE_SECONDS_MAX
            while not there.exist() and time.monotonic() < deadline:
                time.sleep(0.02)
        if word != "local" and not there.exist():
            self._say(f"no shell {name} here")
            return
        self._next = Next(name, make_here=not there.exist())

    def _say(self, text: str) -> None:
        os.write(self.complaints, text.replace("\n", "\r\n").encode() + b"\r\n")
