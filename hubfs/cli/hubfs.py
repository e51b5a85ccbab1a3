"""hubfs: mount a place for hubs."""

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from hubfs.ctl import COMMANDS
from hubfs.hub import CAPACITY_DEFAULT, MESSAGE_SIZE_MAX, MESSAGE_SIZE_MAX_DEFAULT, Hub
from hubfs.limit import RATE_MAX
from hubfs.namespace import HUBS_MAX, Settings
from lib9.cli import Parser, entry, table
from lib9.errors import SpawngridError, UsageError
from lib9.sizes import parse_duration, parse_size

if TYPE_CHECKING:
    from lib9.fuse.attach import Attached
    from lib9.fuse.options import MountOptions
    from lib9.streams import Dial

START_SECONDS_MAX = 20.0  # until the mount answers, or a far one could not be reached


def parser() -> Parser:
    p = Parser(
        "hubfs",
        description="Mount a directory whose files are hubs: pipes that many read and write. Hubs\n"
        "are made and removed as files are. The file ctl shows how each one is, and\n"
        "takes commands, as in echo eof log > MNT/ctl:\n\n" + table(COMMANDS),
    )
    p.add_argument(
        "mount_point", metavar="MNT", help="an empty directory; a dead mount there is removed"
    )
    p.add_argument(
        "-t",
        "--trunc",
        action="store_true",
        help="new readers get only what is written after their open",
    )
    _add_limits(p)
    p.add_argument(
        "-s", "--service", default="hubfs", metavar="NAME", help="the name that ctl shows (hubfs)"
    )
    p.add_argument(
        "--hubs",
        type=int,
        default=HUBS_MAX,
        metavar="N",
        help=f"the most hubs at a time ({HUBS_MAX})",
    )
    p.add_argument(
        "--allow-other",
        action="store_true",
        help="other users may enter (needs root, or user_allow_other in fuse.conf)",
    )
    p.add_argument("--log", metavar="FILE", help="what the daemon has to say goes to its end")
    p.add_argument("-f", "--foreground", action="store_true", help="stay in the foreground")
    return p.house_options()


def _add_limits(p: Parser) -> None:
    p.add_argument(
        "-q",
        "--bytes",
        type=parse_size,
        default=CAPACITY_DEFAULT,
        metavar="SIZE",
        help=f"bytes that each hub keeps ({CAPACITY_DEFAULT})",
    )
    p.add_argument(
        "-l",
        "--longest",
        type=parse_size,
        default=MESSAGE_SIZE_MAX_DEFAULT,
        metavar="SIZE",
        help=f"the longest write ({MESSAGE_SIZE_MAX_DEFAULT}); a longer one gets EMSGSIZE",
    )
    p.add_argument(
        "-b", "--rate", type=parse_size, metavar="SIZE", help="limit: bytes a second into each hub"
    )
    p.add_argument(
        "-i", "--gap", type=int, metavar="NS", help="limit: least nanoseconds between two writes"
    )
    p.add_argument(
        "-r",
        "--remote",
        "--reset",
        dest="remote_or_reset",
        type=_address_or_duration,
        metavar="ADDR|SECONDS",
        help="an address: mount the hubs that a hubfs --listen has there; "
        "a time: of the limits, the pause after which the budget starts anew (60)",
    )
    p.add_argument(
        "--listen",
        action="append",
        default=[],
        type=_address,
        metavar="ADDR",
        help="let others mount these hubs: unix!PATH, tcp!HOST!PORT (whoever can reach it), "
        "noise!HOST!PORT (users with right=hub in the ndb file); may be repeated",
    )


def _address(text: str) -> "Dial":
    from lib9.streams import parse_dial

    return parse_dial(text, port="hub")


def _address_or_duration(text: str) -> "Dial | float":
    if "!" in text:
        return _address(text)
    try:
        return parse_duration(text)
    except UsageError:
        raise UsageError(f"{text}: neither an address (tcp!HOST!PORT …) nor a time") from None


def main(args: argparse.Namespace) -> int:
    from hubfs.options import mount_options
    from lib9.fuse.first import mount_first
    from lib9.fuse.points import make_ready

    far = _check(args)
    options = mount_options(args.service, allow_other=args.allow_other, far=far)
    point = os.fsencode(args.mount_point)
    if make_ready(point):
        sys.stderr.write(f"hubfs: {args.mount_point}: removed a dead mount\n")
    serving = partial(_serve, args, options)
    if args.foreground:
        from lib9.fuse.attach import attach

        serving(attach(point, options), lambda: None)
    else:
        mount_first(point, options, serving, log=_log(args), grace_seconds=START_SECONDS_MAX)
    return 0


def _check(args: argparse.Namespace) -> bool:
    """Raise UsageError for what cannot be meant; tell whether the hubs are elsewhere."""
    far = not isinstance(args.remote_or_reset, float | None)
    kept = (args.bytes, args.longest, args.hubs)
    if far and (
        (args.listen or args.trunc or (args.rate, args.gap) != (None, None))
        or kept != (CAPACITY_DEFAULT, MESSAGE_SIZE_MAX_DEFAULT, HUBS_MAX)
    ):
        raise UsageError("-r ADDR: what holds for these hubs is said where they are")
    if not 1 <= args.longest <= MESSAGE_SIZE_MAX:
        raise UsageError(f"-l {args.longest}: a message has 1 to {MESSAGE_SIZE_MAX} bytes")
    if args.bytes < 1 or args.hubs < 1 or args.rate == 0:
        raise UsageError("-q, -b and --hubs are at least 1")
    if args.gap is not None and args.gap < 0:
        raise UsageError(f"-i {args.gap}: a gap is not below 0")
    if not args.service.isprintable():
        raise UsageError("-s: a name is a line of printable characters")
    try:
        Hub(args.bytes)
    except (OSError, OverflowError):
        raise UsageError(f"-q {args.bytes}: more than this machine has") from None
    return far


def _log(args: argparse.Namespace) -> bytes:
    return os.fsencode(args.log) if args.log else os.devnull.encode()


def _settings(args: argparse.Namespace) -> Settings:
    limits = (args.rate, args.gap, args.remote_or_reset)
    return Settings(
        capacity=args.bytes,
        message_size_max=args.longest,
        bytes_per_second=args.rate or RATE_MAX,
        gap_ns=args.gap or 0,
        reset_seconds=60.0 if args.remote_or_reset is None else args.remote_or_reset,
        limited=any(value is not None for value in limits),
        only_new=args.trunc,
    )


def _serve(
    args: argparse.Namespace,
    options: "MountOptions",
    attached: "Attached",
    ready: Callable[[], None],
) -> None:
    import signal

    import trio

    from hubfs.mount import serve_hubs, serve_remote
    from lib9.fuse.options import ENGINE_VARIABLE, STOCK

    stock = os.environ.get(ENGINE_VARIABLE) == STOCK
    if isinstance(args.remote_or_reset, float | None):
        serve = partial(
            serve_hubs, settings=_settings(args), hubs_max=args.hubs, listen=args.listen
        )
    else:
        serve = partial(serve_remote, dial=args.remote_or_reset)

    async def until_told() -> None:
        told = trio.CancelScope()

        async def end_on_signal() -> None:
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async for _ in signals:
                    told.cancel()

        failure: list[SpawngridError] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end_on_signal)
            with told:
                try:
                    await serve(attached, options, ready=ready, stock=stock)
                except SpawngridError as error:
                    failure.append(error)  # raised below, without a group around it
            nursery.cancel_scope.cancel()
        if failure:
            raise failure[0]

    trio.run(until_told)


run = entry(parser, main)

if __name__ == "__main__":
    raise SystemExit(run())
