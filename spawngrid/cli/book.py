"""`grid book`: the names of a storage node as its users see them, for scripts and operators."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from lib9.cli import Parser

if TYPE_CHECKING:
    from spawngrid.stosvc.book import Book


def add(words: argparse._SubParsersAction[Parser]) -> None:
    p = words.add_parser(
        "book",
        help="names and whose they are, on the storage node",
        description="The names of this storage node, as one of its users sees them. For the operator,\n"
        "and for a script that stands in for stosvc.",
    )
    what = p.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    user = ("user", "USER", "whose names")
    name = ("name", "NAME", "a name: NAME, NAME~1, NAME.NONCE")
    other = ("other", "OTHER", "another user")
    score = ("score", "SCORE", "a root in this node's store")
    for word, run, text, arguments in (
        ("find", find, "Print the score that a name means for a user.", (user, name)),
        ("list", show, "List what a user may spawn: name, seconds, owner.", (user,)),
        ("record", record, "Let a user's name mean a score.", (user, name, score)),
        ("share", share, "Let another user spawn what a name means.", (user, other, name)),
        ("unshare", share, "No longer let another user spawn it.", (user, other, name)),
    ):
        _add(what, word, run, text, arguments)


def _add(
    what: argparse._SubParsersAction[Parser],
    word: str,
    run: object,
    text: str,
    arguments: tuple[tuple[str, str, str], ...],
) -> None:
    from spawngrid.cli.node import add_config_option

    p = what.add_parser(word, help=text[0].lower() + text[1:-1], description=text)
    for dest, metavar, help_text in arguments:
        p.add_argument(dest, metavar=metavar, help=help_text)
    add_config_option(p)
    p.set_defaults(run=run, word=word)


def _book(args: argparse.Namespace) -> Book:
    import os

    from spawngrid.cli.node import node_of
    from spawngrid.stosvc.book import Book

    config = node_of(args)
    os.environ.update(config.environ(dict(os.environ)))
    return Book.open(config.store)


def find(args: argparse.Namespace) -> None:
    from spawngrid.stosvc.asked import check_name
    from venti_store.names.errors import NoSuchName

    found = _book(args).find(args.user, check_name(args.name))
    if found is None:
        raise NoSuchName(f"{args.name} not found for {args.user}")
    sys.stdout.write(f"{found.score}\n")


def show(args: argparse.Namespace) -> None:
    for named in _book(args).visible(args.user):
        sys.stdout.write(f"{named.name} {named.time} {named.owner}\n")


def record(args: argparse.Namespace) -> None:
    from spawngrid.stosvc.asked import check_new_name

    sys.stdout.write(f"{_book(args).record(args.user, check_new_name(args.name), args.score)}\n")


def share(args: argparse.Namespace) -> None:
    from spawngrid.stosvc.asked import check_name

    name = check_name(args.name)
    _book(args).share(args.user, args.other, name, on=args.word == "share")
