"""`grid user add|list|rm`: who may use the grid; on the storage node."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from lib9.cli import Parser, print_json

if TYPE_CHECKING:
    from spawngrid.settings.config import NodeConfig
    from spawngrid.settings.users import Users


def add(words: argparse._SubParsersAction[Parser]) -> None:
    from spawngrid.cli.node import add_config_option

    p = words.add_parser(
        "user",
        help="users of the grid",
        description="Who may use the grid. For the operator, on the storage node.",
    )
    what = p.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    new = what.add_parser(
        "add",
        help="a token for a new user",
        description="Print a token by which somebody joins under this name: grid join TOKEN.\n"
        "It is good once, for a day. Whoever has it can use it: give it to them only.",
    )
    gone = what.add_parser(
        "rm",
        help="forget a user or a node",
        description="Forget a user or a node: from now on its key opens nothing, and in some seconds its\n"
        "connections end, and what it runs in environments. What is stored under the user's names\n"
        "stays, and so do environments that run.",
    )
    for each, run in ((new, add_user), (gone, remove)):
        each.add_argument("name", metavar="USER", help="the user's name")
        each.set_defaults(run=run)
    shown = what.add_parser(
        "list",
        help="who there is",
        description="List users and nodes with their keys and rights, and tokens that wait.",
    )
    shown.add_argument("--json", action="store_true", help="print one JSON object a line")
    shown.set_defaults(run=show)
    for each in (new, gone, shown):
        add_config_option(each)


def users_of(config: NodeConfig) -> Users:
    from spawngrid.errors import NoSuchNode
    from spawngrid.settings.users import Users

    if not config.is_storage:
        raise NoSuchNode(f"{config.name} is no storage node: users are known to {config.storage}")
    return Users(config.peers_file, config.place("tokens"))


def add_user(args: argparse.Namespace) -> None:
    from spawngrid.cli.node import node_of

    print_token(node_of(args), args.name, node=False)


def print_token(config: NodeConfig, name: str, *, node: bool) -> None:
    """Make somebody expected, and print what they join by."""
    import time

    from lib9 import keys
    from spawngrid.client.grids import Token

    secret = users_of(config).invite(name, node=node, now=int(time.time()))
    token = Token(config.dial, keys.load(config.key_file).public, secret)
    sys.stdout.write(f"{token}\n")


def show(args: argparse.Namespace) -> None:
    import time

    from lib9.keys import format_key
    from spawngrid.cli.node import node_of

    users = users_of(node_of(args))
    for peer in users.peers():
        kind = "user" if peer.user else "node"
        rights = sorted(peer.rights)
        if args.json:
            key = format_key(peer.public)
            print_json({"name": peer.name, "kind": kind, "rights": rights, "pubkey": key})
        else:
            sys.stdout.write(
                f"{peer.name}\t{kind}\t{' '.join(rights)}\t{format_key(peer.public)}\n"
            )
    for waiting in users.waiting(int(time.time())):
        kind = "node" if waiting.node else "user"
        if args.json:
            print_json({"name": waiting.name, "kind": kind, "expires": waiting.expires})
        else:
            sys.stdout.write(f"{waiting.name}\t{kind}\thas a token\n")


def remove(args: argparse.Namespace) -> None:
    from spawngrid.cli.node import node_of

    users_of(node_of(args)).remove(args.name)
