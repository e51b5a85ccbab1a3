"""The frame of every command: arguments in, one error line and a documented exit status out.

A command is a module with `parser()` and `main(args)`; `entry(parser, main)` makes its entry
point. Man pages, completion and the CLI reference are made from the same parsers. Heavy imports
belong inside `main`, so that `--help` answers at once.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from lib9.errors import Exit, SpawngridError, UsageError, single_error
from lib9.telling import error_line, exit_status

Main = Callable[[argparse.Namespace], int | None]

EXIT_STATUS = """exit status:
  0 done                     6 the store cannot be used
  1 failed                   7 no space
  2 wrong usage              8 the mount cannot be made or used
  3 done in part, see stderr 9 refused: unsaved changes
  4 not found               10 a peer did not answer
  5 stored data is damaged"""


class _Help(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal, found without shutil: every option asks for a formatter at once."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    """Return the terminal's width, as shutil.get_terminal_size has it."""
    try:
        columns = int(os.environ.get("COLUMNS", "0"))
    except ValueError:
        columns = 0
    if columns <= 0:
        try:
            columns = os.get_terminal_size(1).columns
        except OSError:
            columns = 0
    return columns or 80


class _Version(argparse.Action):
    """As argparse's own, but the version is looked up when it is asked for only."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        sys.stdout.write(f"{parser.prog} (Spawngrid) {version('spawngrid')}\n")
        raise SystemExit(int(Exit.OK))


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line and exit status 2, with the house options.

    `mixed`: options may stand between arguments of which the later ones can be left out.
    """

    mixed = False

    def __init__(self, prog: str | None = None, *, description: str = "", **rest: object) -> None:
        rest.setdefault("epilog", EXIT_STATUS)
        super().__init__(
            prog=prog,
            description=description,
            formatter_class=_Help,
            allow_abbrev=False,
            **rest,  # type: ignore[arg-type]
        )

    def house_options(self) -> "Parser":
        """Add --version, -v and --debug; every top-level parser has them."""
        self.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
        self.add_argument("-v", "--verbose", action="count", default=0, help="say more on stderr")
        self.add_argument("--debug", action="store_true", help="log everything, with tracebacks")
        return self

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: usage: {message} (see {self.prog} --help)\n")
        raise SystemExit(int(Exit.USAGE))


def entry(parser: Callable[[], Parser], main: Main, *, logs: bool = True) -> Callable[[], int]:
    """Return the entry point of a command: parse argv, run `main`, turn errors into exit statuses.

    Without `logs` the log goes nowhere in particular unless -v or --debug asks for it, and the process
    ends without tidying up: for a command that is to be back at once, and logs nothing of its own.
    """

    def run() -> int:
        status = run_command(parser(), main, sys.argv[1:], logs=logs)
        if not logs:
            sys.stderr.flush()
            os._exit(status)  # stdout was flushed; what the interpreter would free goes with it
        return status

    return run


def run_command(parser: Parser, main: Main, argv: list[str], *, logs: bool = True) -> int:
    """Run one command with the arguments `argv` and return its exit status."""
    try:
        args = parser.parse_intermixed_args(argv) if parser.mixed else parser.parse_args(argv)
    except UsageError as wrong:  # from the type of an argument
        parser.error(str(wrong))
    program = parser.prog.split()[0]
    debug = bool(getattr(args, "debug", False))
    from lib9 import places

    places.use(os.environ)
    verbosity = 2 if debug else getattr(args, "verbose", 0)
    if logs or verbosity:
        from lib9 import log

        log.configure(program, verbosity=verbosity)
    try:
        status = main(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # the reader of stdout went away: nothing to tell, and nobody to tell it to
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return int(Exit.FAILED)
    except (SpawngridError, OSError, BaseExceptionGroup) as raised:
        error = single_error(raised)
        if debug or not isinstance(error, SpawngridError | OSError):
            raise
        return complain(program, error)
    return int(status or Exit.OK)


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Return what can be said, and what that does, as lines for a description."""
    width = max(len(said) for said, _ in rows)
    return "\n".join(f"  {said:{width}}  {does}" for said, does in rows)


def complain(program: str, error: SpawngridError | OSError) -> int:
    """Print the one line for `error` on stderr and return its exit status."""
    sys.stderr.write(f"{program}: {error_line(error)}\n")
    return int(exit_status(error))


def print_json(value: object) -> None:
    """Print one JSON object on a line of its own."""
    import json

    sys.stdout.write(json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n")
