"""Being in an environment: `grid attach`, `run`, `console`, `ps`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from lib9.cli import Parser, print_json

if TYPE_CHECKING:
    from spawngrid.client.entering import Place


def add(words: argparse._SubParsersAction[Parser]) -> None:
    from spawngrid.cli.ask import add_grid_option

    shapes = (
        (
            "attach",
            attach,
            (
                "Open a terminal in an environment. When the connection breaks it is made again, and the\n"
                "terminal goes on where it was. Ctrl-] leaves, which ends the shell."
            ),
        ),
        (
            "run",
            run_command,
            (
                "Run a command in an environment: its input, output and errors are ours, its exit\n"
                "status is ours too."
            ),
        ),
        (
            "console",
            console,
            (
                "Attach to the environment's own shell, which goes on when we leave (Ctrl-D).\n"
                "Everybody who is attached sees the same."
            ),
        ),
        ("ps", processes, "List the processes of an environment: pid, seconds, memory, command."),
    )
    for word, run, text in shapes:
        p = words.add_parser(
            word, help=text.split(".")[0].replace("\n", " ").lower(), description=text
        )
        add_grid_option(p)
        p.add_argument("env", metavar="ENV", help="an environment; USER/ENV for another user's")
        p.set_defaults(run=run)
        if word in ("attach", "run"):
            p.add_argument(
                "command",
                nargs=argparse.REMAINDER,
                metavar="CMD",
                help="the command and its arguments" + (" (a shell)" if word == "attach" else ""),
            )
        if word == "ps":
            p.add_argument("--json", action="store_true", help="print one JSON object a line")


def attach(args: argparse.Namespace) -> int:
    from lib9.errors import UsageError
    from spawngrid.attach import wire

    if not os.isatty(0):
        raise UsageError("attach needs a terminal (grid run ENV CMD does not)")
    variables = _variables("TERM", "LANG", "COLORTERM")
    return _session(args, wire.TERMINAL, tuple(_command(args)), variables, raw=True)


def run_command(args: argparse.Namespace) -> int:
    from lib9.errors import UsageError
    from spawngrid.attach import wire

    command = _command(args)
    if not command:
        raise UsageError("run ENV CMD...: no command")
    return _session(args, wire.RUN, tuple(command), _variables("LANG"))


def console(args: argparse.Namespace) -> int:
    from spawngrid.attach import wire

    return _session(args, wire.CONSOLE, (), ())


def processes(args: argparse.Namespace) -> int:
    import tempfile

    from spawngrid.attach import wire
    from spawngrid.cli.ask import print_rows, record_of

    # what a session says goes to descriptor 1: here it is read first
    with tempfile.TemporaryFile() as said:
        sys.stdout.flush()
        out = os.dup(1)
        os.dup2(said.fileno(), 1)
        try:
            status = _session(args, wire.PROCESSES, (), (), reads=False)
        finally:
            os.dup2(out, 1)
            os.close(out)
        said.seek(0)
        rows = [record_of(line) for line in said.read().decode(errors="replace").splitlines()]
    for row in rows if args.json else ():
        print_json(row)
    if not args.json:
        print_rows(rows)
    return status


def _command(args: argparse.Namespace) -> list[bytes]:
    words = args.command[1:] if args.command[:1] == ["--"] else args.command
    return [os.fsencode(word) for word in words]


def _variables(*names: str) -> tuple[wire.Variable, ...]:
    from spawngrid.attach import wire

    return tuple(
        wire.Variable(name.encode(), os.fsencode(os.environ[name]))
        for name in names
        if name in os.environ
    )


def _session(
    args: argparse.Namespace,
    kind: int,
    command: tuple[bytes, ...],
    variables: tuple[wire.Variable, ...],
    *,
    raw: bool = False,
    reads: bool = True,
) -> int:
    from spawngrid.client import grids, places
    from spawngrid.client.entering import Session

    storage = grids.choose(args.grid or os.environ.get(grids.VARIABLE))
    identity = grids.identity()

    def begin(place: Place) -> int:
        session = Session(place, identity, kind, command, variables)
        return session.run(raw=raw, reads=reads)

    return places.at_place(storage, identity, args.env, begin)


if TYPE_CHECKING:
    from spawngrid.attach import wire
