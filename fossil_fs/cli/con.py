"""`fossil-con`: the console of a mount, for one command, a script, or a person at a terminal."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lib9.cli import Parser, entry
from lib9.errors import Exit

if TYPE_CHECKING:
    from fossil_fs.mounting.console import Console
    from fossil_fs.mounting.registry import Registry, Running

PROGRAM = "fossil-con"


def parser() -> Parser:
    """Return the argument parser of fossil-con."""
    p = Parser(
        PROGRAM,
        description=(
            "Look after a mount: `fossil-con MNT help` lists the commands. Without a command, commands\n"
            "are read from the terminal, or from standard input, where the first that fails ends it.\n"
            "The mount's daemon answers; the mount itself is asked nothing but to write out what the\n"
            "kernel holds back, before commands that need it (save, snap, sync, halt)."
        ),
    )
    p.add_argument("mnt", metavar="MNT", help="where the tree is mounted")
    p.add_argument(
        "command",
        metavar="COMMAND",
        nargs=argparse.REMAINDER,
        help="a word and its arguments: status, df, stats --json, check …",
    )
    return p.house_options()


def main(args: argparse.Namespace) -> int:
    """Run one command, those of standard input, or a conversation."""
    from fossil_fs.mounting.point import find_mount
    from fossil_fs.mounting.registry import Registry
    from lib9.places import run_directory

    registry = Registry(run_directory(os.environ))
    running = find_mount(registry, os.fsencode(args.mnt))
    session = Session(registry, running)
    if args.command:
        session.say(args.command)
        return Exit.OK
    if sys.stdin.isatty():
        return _converse(session)
    for words in _scripted():
        session.say(words)
    return Exit.OK


class Session:
    """A console that is connected anew where a command was broken off."""

    def __init__(self, registry: "Registry", running: "Running") -> None:
        self._path = registry.path(running.id, "sock")
        self._mnt = os.fsencode(running.mnt)
        self._console: Console | None = None

    def ask(self, words: list[str]) -> tuple[list[str], str]:
        from fossil_fs.mounting.console import SYNCED_WORDS, Console
        from fossil_fs.mounting.point import sync_mount

        if words[0] in SYNCED_WORDS:
            sync_mount(self._mnt)
        if self._console is None:
            self._console = Console(self._path)
        return self._console.ask(*words)

    def say(self, words: list[str]) -> None:
        """Do a command and print what it answers; raises what it failed with."""
        from lib9.asking import Answered

        try:
            lines, text = self.ask(words)
        except Answered as error:
            _print(error.lines)
            raise
        except BaseException:
            self.close()  # its answer may still come
            raise
        _print([*lines, text] if text else lines)

    def close(self) -> None:
        if self._console is not None:
            self._console.close()
        self._console = None


def _print(lines: Sequence[str]) -> None:
    for line in lines:
        print(line)
    sys.stdout.flush()


def _scripted() -> Iterator[list[str]]:
    import shlex

    from lib9.errors import UsageError

    for line in sys.stdin:
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise UsageError(f"{line.strip()}: {error}") from error
        if words:
            yield words


def _converse(session: Session) -> int:
    """Prompt until the end of input or `quit`; what fails is told and does not end it."""
    import shlex

    from lib9.cli import complain
    from lib9.errors import SpawngridError, UsageError

    _complete([line.split()[0] for line in session.ask(["help"])[0]])
    while True:
        try:
            words = shlex.split(input("fossil: "))
            if words in (["quit"], ["exit"]):
                return Exit.OK
            if words:
                session.say(words)
        except EOFError:
            print()
            return Exit.OK
        except KeyboardInterrupt:
            print()
        except ValueError as error:
            complain(PROGRAM, UsageError(str(error)))
        except (SpawngridError, OSError) as error:
            complain(PROGRAM, error)


def _complete(words: list[str]) -> None:
    """Let the terminal edit lines and complete the first word, where Python can."""
    try:
        import readline
    except ImportError:
        return

    def complete(text: str, state: int) -> str | None:
        if readline.get_begidx():
            return None
        return dict(enumerate(f"{w} " for w in [*words, "quit"] if w.startswith(text))).get(state)

    readline.set_completer(complete)
    readline.parse_and_bind("tab: complete")


run = entry(parser, main)
