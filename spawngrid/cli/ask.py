"""What is asked of the grid in one request: `grid scores`, `spawn`, `save`, `status` and the rest."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable

from lib9.cli import Parser, print_json

Words = Callable[[argparse.Namespace], list[str]]


def add(words: argparse._SubParsersAction[Parser]) -> None:
    _add_names(words)
    _add_environments(words)
    for word, text in (
        ("nodes", "List the cpu nodes of the grid, with the memory that they have free."),
        ("whoami", "Print the name that the grid knows us by."),
    ):
        _verb(words, word, text, lambda args: [args.word])


def _verb(
    words: argparse._SubParsersAction[Parser],
    word: str,
    text: str,
    asked: Words,
    aliases: tuple[str, ...] = (),
) -> Parser:
    summary = text.split(". ", maxsplit=1)[0].rstrip(".")
    p = words.add_parser(
        word, aliases=aliases, help=summary[0].lower() + summary[1:], description=text
    )
    add_grid_option(p)
    p.add_argument("--json", action="store_true", help="print one JSON object a line")
    p.set_defaults(run=run, asked=asked, word=word)
    return p


def add_grid_option(p: Parser) -> None:
    p.add_argument(
        "--grid", metavar="NAME", help="which grid: the name of its storage node (default: $grid)"
    )


def _add_names(words: argparse._SubParsersAction[Parser]) -> None:
    p = _verb(
        words,
        "scores",
        "List the names that you may spawn, those with SUBSTR in them.",
        lambda args: ["scores", *([args.substr] if args.substr else [])],
    )
    p.add_argument("substr", nargs="?", metavar="SUBSTR", help="part of a name")
    for word, what in (
        ("share", "Let another user spawn"),
        ("unshare", "No longer let another spawn"),
    ):
        p = _verb(
            words,
            word,
            f"{what} what one of your names means.",
            lambda args: [args.word, args.user, args.name],
        )
        p.add_argument("user", metavar="USER", help="a user of this grid")
        p.add_argument("name", metavar="NAME", help="a name of yours")
    p = _verb(
        words,
        "log",
        "List what a name has meant, newest first, with times.",
        lambda args: ["log", args.name],
    )
    p.add_argument("name", metavar="NAME", help="a name")
    p = _verb(
        words,
        "diff",
        "List what differs between two roots: + added, - removed, ~ changed, with sizes.",
        lambda args: ["diff", args.old, args.new],
    )
    p.add_argument("old", metavar="OLD", help="a name; NAME~1 is the one before it")
    p.add_argument("new", metavar="NEW", help="another")


def _add_environments(words: argparse._SubParsersAction[Parser]) -> None:
    p = _verb(
        words,
        "spawn",
        "Start an environment from a root: a private system that begins as that root was saved.",
        _spawn,
    )
    p.add_argument("name", metavar="NAME", help="the name of a root, NAME~1 for the one before it")
    p.add_argument("--as", dest="alias", metavar="ALIAS", help="what to call it (default: NAME)")
    p.add_argument("--disk", metavar="SIZE", help="keep changes on disk, up to SIZE")
    p.add_argument(
        "--ram", metavar="SIZE", help="keep changes in memory, up to SIZE (default: 100M)"
    )
    p.add_argument("--node", metavar="NODE", help="on this cpu node (default: most free memory)")
    p.add_argument("--network", choices=("none", "nat", "host"), help="which network it has")
    p.add_argument("--memory", metavar="SIZE", help="the most memory of all its processes (512M)")
    p.add_argument("--cpus", metavar="N", help="the most processors, 0.5 is half of one (1)")
    p.add_argument("--pids", metavar="N", help="the most processes (512)")
    p.add_argument("--limits", metavar="none", choices=("none",), help="none: no limits at all")
    p = _verb(
        words,
        "spawndisk",
        "Start an environment with 1 GB of disk for its changes: spawn --disk 1G.",
        lambda args: ["spawndisk", args.name],
    )
    p.add_argument("name", metavar="NAME", help="the name of a root")
    p = _verb(
        words,
        "save",
        "Save an environment as it is at this moment, and give that a name. It goes on.",
        lambda args: ["save", args.env, args.new_name],
        aliases=("savedisk",),
    )
    p.add_argument("env", metavar="ENV", help="an environment of yours")
    p.add_argument("new_name", metavar="NEWNAME", help="what it will be called")
    p = _verb(
        words,
        "invite",
        "Let another user attach to an environment of yours, and run commands in it.",
        lambda args: ["invite", args.user, args.env],
    )
    p.add_argument("user", metavar="USER", help="a user of this grid")
    p.add_argument("env", metavar="ENV", help="an environment of yours")
    p = _verb(
        words,
        "uninvite",
        "No longer let another user into an environment of yours. What they run there is ended.",
        lambda args: ["uninvite", args.user, args.env],
    )
    p.add_argument("user", metavar="USER", help="a user who was invited")
    p.add_argument("env", metavar="ENV", help="an environment of yours")
    p = _verb(
        words,
        "boom",
        "End an environment. What was not saved is gone; what was saved stays.",
        lambda args: ["boom", args.env],
        aliases=("kill",),
    )
    p.add_argument("env", metavar="ENV", help="an environment of yours")
    p = _verb(
        words,
        "status",
        "List your environments and those that you were invited to.",
        lambda args: ["status", *([args.env] if args.env else [])],
    )
    p.add_argument("env", nargs="?", metavar="ENV", help="one of them only")


def _spawn(args: argparse.Namespace) -> list[str]:
    pairs = {
        "as": args.alias,
        "disk": args.disk,
        "ram": args.ram,
        "node": args.node,
        "network": args.network,
        "memory": args.memory,
        "cpus": args.cpus,
        "pids": args.pids,
        "limits": args.limits,
    }
    return ["spawn", args.name, *(f"{attr}={value}" for attr, value in pairs.items() if value)]


def run(args: argparse.Namespace) -> None:
    """Ask, and print the answer as it comes."""
    from spawngrid.client import asking, grids

    storage = grids.choose(args.grid or os.environ.get(grids.VARIABLE))
    rows: list[dict[str, str]] = []
    for line in asking.ask(storage, grids.identity(), tuple(args.asked(args))):
        row = record_of(line)
        if args.json:
            print_json(row or {"text": line})
            sys.stdout.flush()
        elif row:
            rows.append(row)
        else:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    print_rows(rows)


def record_of(line: str) -> dict[str, str]:
    """Return the pairs of a line that is a record; nothing for text."""
    from ndbdb.parser import parse

    first = line.split(" ", 1)[0]
    if "=" not in first:
        return {}
    record = next(parse(f"{line}\n"), None)
    return {pair.attr: pair.value for pair in record.pairs()} if record is not None else {}


def print_rows(rows: list[dict[str, str]]) -> None:
    """Print records as columns, with what their first has for heads."""
    if not rows:
        return
    if len(rows) == 1 and len(rows[0]) == 1:
        sys.stdout.write("".join(rows[0].values()) + "\n")
        return
    heads = list(dict.fromkeys(attr for row in rows for attr in row))
    cells = [[_shown(attr, row.get(attr, "")) for attr in heads] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for line in [heads, *cells]:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write(f"{text.rstrip()}\n")


def _shown(attr: str, value: str) -> str:
    from lib9.sizes import format_size

    if attr == "time" and value.isdigit():
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(int(value)))
    if attr in ("free", "total", "rss") and value.isdigit():
        return format_size(int(value))
    if attr == "here":
        return "yes" if value == "1" else "no"
    return value
