"""`grid node init|start|run|stop|status|serve|add|env`: this machine as a node of the grid."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from lib9.cli import Parser, print_json
from spawngrid.cli import env

if TYPE_CHECKING:
    from spawngrid.settings.config import NodeConfig


_START = """\
Start the services of the node that do not run. One that is killed later stays so until the next
start: `grid node run`, or the units of systemd, start it anew."""
_RUN = """\
Start the services of the node, and start anew what ends. In the foreground; SIGTERM ends them all,
environments go on. For containers, and machines without systemd."""


def add(words: argparse._SubParsersAction[Parser]) -> None:
    p = words.add_parser(
        "node",
        help="this machine as a node of the grid",
        description="Make, start, stop and look at the node that this machine is. All of it is in one\n"
        "ndb file; everything it keeps is below the home that the file names.",
    )
    what = p.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    _add_init(what)
    for word, act, text in (
        ("start", start, _START),
        ("run", run, _RUN),
        ("stop", stop, "Stop the services of the node. Environments go on."),
        ("status", status, "List the services of the node; exit status 1 unless all run."),
        ("serve", serve, "Be the node's listener, in the foreground, until SIGTERM."),
    ):
        each = what.add_parser(
            word, help=text[0].lower() + text.split(".")[0][1:], description=text
        )
        add_config_option(each)
        each.set_defaults(run=act)
        if word != "serve":
            each.add_argument("--json", action="store_true", help="print one JSON object a line")
    new = what.add_parser(
        "add",
        help="a token for a new cpu node",
        description="Print a token by which a new cpu node joins: grid node init --join TOKEN there.\n"
        "It is good once, for a day.",
    )
    new.add_argument("name", metavar="NODE", help="what the new node will be called")
    add_config_option(new)
    new.set_defaults(run=add_node)
    env.add(what)


def _add_init(what: argparse._SubParsersAction[Parser]) -> None:
    p = what.add_parser(
        "init",
        help="make a node",
        description="Describe this node in its ndb file and make its home: key, store, directories.\n"
        "With --join it becomes a cpu node of the grid whose token that is.",
    )
    p.add_argument("name", metavar="NODE", help="the node's name; with --join, as the token has it")
    p.add_argument(
        "--role",
        action="append",
        choices=("storage", "cpu"),
        help="may be given twice (default: both; with --join: cpu)",
    )
    p.add_argument(
        "--listen",
        metavar="ADDRESS",
        default="noise!*!27034",
        help="where its one listener is (default: noise!*!27034)",
    )
    p.add_argument("--dial", metavar="ADDRESS", help="how others reach it, if not so")
    p.add_argument("--home", metavar="DIR", help="where all that it keeps lies")
    p.add_argument("--run", dest="run_directory", metavar="DIR", help="where running things are")
    p.add_argument("--store", metavar="ADDRESS", help="another store than HOME/venti")
    p.add_argument("--join", metavar="TOKEN", help="a token of grid node add, printed there")
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="ATTR=VALUE",
        help="another attribute of the record, see the reference; may be repeated",
    )
    add_config_option(p)
    p.set_defaults(run=init)


def add_config_option(p: Parser) -> None:
    p.add_argument(
        "--config",
        metavar="FILE",
        help="the node's ndb file (default: $XDG_CONFIG_HOME/spawngrid/node.ndb)",
    )


def config_file(args: argparse.Namespace) -> str:
    from lib9 import places

    return os.path.abspath(args.config or places.config_file("node.ndb"))


def node_of(args: argparse.Namespace) -> NodeConfig:
    """Return the node that --config describes."""
    from spawngrid.settings.config import read_config

    return read_config(config_file(args))


def init(args: argparse.Namespace) -> None:
    from lib9.errors import UsageError
    from lib9.keys import format_key
    from spawngrid.node.making import make_node

    home = os.path.abspath(args.home or _default_home())
    roles = args.role or (["cpu"] if args.join else ["storage", "cpu"])
    pairs = [("sys", args.name), *(("role", role) for role in dict.fromkeys(roles))]
    pairs.append(("listen", args.listen))
    pairs.append(("dial", args.dial or args.listen.replace("!*!", f"!{_own_name()}!")))
    pairs.append(("home", home))
    if args.run_directory or os.geteuid() == 0:
        run = args.run_directory or f"/run/spawngrid/{args.name}"
        pairs.append(("run", os.path.abspath(run)))
    for text in args.set:
        attr, mark, value = text.partition("=")
        if not mark:
            raise UsageError(f"--set {text}: ATTR=VALUE")
        pairs.append((attr, value))
    file = config_file(args)
    if not args.join:
        if args.store:
            pairs.append(("store", args.store))
        made = make_node(file, pairs)
    else:
        made = _join(args, file, pairs)
    sys.stdout.write(f"{format_key(made.public)}\n")


def _join(args: argparse.Namespace, file: str, pairs: list[tuple[str, str]]) -> Made:
    """Make a cpu node, and make it known to its storage node."""
    from lib9 import keys
    from lib9.errors import UsageError
    from ndbdb.parser import parse
    from spawngrid.client.asking import enrol
    from spawngrid.client.grids import parse_token
    from spawngrid.node.making import make_node

    token = parse_token(args.join)
    home, dial = dict(pairs)["home"], dict(pairs)["dial"]
    key_file = os.path.join(home, "config", "spawngrid", "key")
    if not os.path.exists(key_file):
        keys.create(key_file)
    enrolled = enrol(token, keys.load(key_file), dial)
    if enrolled.name != args.name:
        raise UsageError(f"{args.name}: the token is for {enrolled.name}")
    record = next(parse(f"{enrolled.records[0]}\n"))
    pairs.append(("storage", record.need("sys")))
    pairs.append(("store", args.store or "cached!" + record.need("dial")))
    return make_node(file, pairs, more=enrolled.records[0])


def _default_home() -> str:
    from lib9 import places

    if os.geteuid() == 0:
        return "/var/lib/spawngrid"
    return os.path.join(places.state_directory(os.environ), "spawngrid", "node")


def _own_name() -> str:
    import socket

    return socket.gethostname()


def start(args: argparse.Namespace) -> None:
    from spawngrid.node import processes

    config = node_of(args)
    for service in processes.services_of(config):
        was = processes.running(config, service).pid
        now = processes.start(config, config_file(args), service, os.environ)
        _print(args, now, "was running" if was else "started")


def run(args: argparse.Namespace) -> None:
    from lib9 import supervision
    from spawngrid.node.supervising import supervise

    config = node_of(args)
    manager = {**os.environ}
    os.environ.pop("NOTIFY_SOCKET", None)  # each service tells us, and we the manager

    def say(each: Running, what: str) -> None:
        _print(args, each, what)
        sys.stdout.flush()

    def ready() -> None:
        supervision.notify(manager, "READY=1")

    supervise(config, config_file(args), os.environ, say=say, ready=ready)
    _close(config)


def stop(args: argparse.Namespace) -> None:
    from spawngrid.node import processes

    config = node_of(args)
    for service in reversed(processes.services_of(config)):
        did = processes.stop(config, service)
        _print(args, processes.Running(service, 0), "stopped" if did else "was not running")
    _close(config)


def _close(config: NodeConfig) -> None:
    """End what all environments share, if there are none."""
    if config.is_cpu:
        from spawngrid.node.environments import open_environments

        open_environments(config).close()


def status(args: argparse.Namespace) -> int:
    from spawngrid.node import processes

    config = node_of(args)
    found = [processes.running(config, service) for service in processes.services_of(config)]
    for each in found:
        _print(args, each, "runs" if each.pid else "does not run")
    return 0 if all(each.pid for each in found) else 1


def _print(args: argparse.Namespace, each: Running, what: str) -> None:
    if args.json:
        print_json({"service": each.service, "pid": each.pid, "state": what})
    else:
        sys.stdout.write(f"{each.service}\t{what}{f' pid {each.pid}' if each.pid else ''}\n")


def serve(args: argparse.Namespace) -> None:
    import signal

    import trio

    from lib9 import faults, supervision
    from lib9.errors import SpawngridError
    from spawngrid.node.environments import open_environments
    from spawngrid.node.processes import record_pid
    from spawngrid.node.serve import serve_node

    config = node_of(args)
    os.environ.update(config.environ(dict(os.environ)))
    if faults.VARIABLE in os.environ:
        faults.arm_kill(os.environ[faults.VARIABLE])
    record_pid(config, "node", os.getpid())
    environments = open_environments(config) if config.is_cpu else None

    manager = {**os.environ}
    os.environ.pop("NOTIFY_SOCKET", None)  # what is started here is no service of the manager

    def ready() -> None:
        supervision.notify(manager, "READY=1")

    async def until_told() -> None:
        failure: list[SpawngridError] = []
        async with trio.open_nursery() as nursery:

            async def work() -> None:
                try:
                    await serve_node(config, environments, ready)
                except SpawngridError as error:
                    failure.append(error)  # raised below, without a group around it
                    nursery.cancel_scope.cancel()

            nursery.start_soon(work)
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async for _ in signals:
                    supervision.notify(manager, "STOPPING=1")
                    nursery.cancel_scope.cancel()
                    break
        if failure:
            raise failure[0]

    trio.run(until_told)


def add_node(args: argparse.Namespace) -> None:
    from spawngrid.cli.user import print_token

    print_token(node_of(args), args.name, node=True)


if TYPE_CHECKING:
    from spawngrid.node.making import Made
    from spawngrid.node.processes import Running
