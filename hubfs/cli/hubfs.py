"""hubfs: mount a place for hubs."""

import argparse
import os
from typing import TYPE_CHECKING

from hubfs.hub import CAPACITY_DEFAULT, MESSAGE_SIZE_MAX_DEFAULT
from hubfs.limit import RATE_MAX
from hubfs.namespace import HUBS_MAX, Settings
from lib9.cli import Parser, entry
from lib9.sizes import parse_duration, parse_size

if TYPE_CHECKING:
    from lib9.fuse.attach import Attached
    from lib9.fuse.interface import MountOptions


def parser() -> Parser:
    p = Parser(
        "hubfs",
        description="Mount a directory whose files are hubs: pipes that many read and write.",
    )
    p.add_argument("mount_point", metavar="MNT", help="an empty directory")
    p.add_argument(
        "-t",
        "--trunc",
        action="store_true",
        help="new readers get only what is written after their open",
    )
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
        "--reset",
        type=parse_duration,
        metavar="SECONDS",
        help="limit: a pause after which the budget starts anew (60)",
    )
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
    p.add_argument("-f", "--foreground", action="store_true", help="stay in the foreground")
    return p.house_options()


def main(args: argparse.Namespace) -> int:
    from hubfs.mount import mount_options
    from lib9.fuse.attach import attach

    options = mount_options(args.service, allow_other=args.allow_other)
    attached = attach(os.fsencode(args.mount_point), options)
    if not args.foreground:
        if os.fork():
            return 0  # requests wait in the kernel until the child answers them
        _become_daemon()
    _serve(attached, options, _settings(args), args.hubs)
    return 0


def _settings(args: argparse.Namespace) -> Settings:
    return Settings(
        capacity=args.bytes,
        message_size_max=args.longest,
        bytes_per_second=args.rate or RATE_MAX,
        gap_ns=args.gap or 0,
        reset_seconds=60.0 if args.reset is None else args.reset,
        limited=any(value is not None for value in (args.rate, args.gap, args.reset)),
        only_new=args.trunc,
    )


def _become_daemon() -> None:
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


def _serve(
    attached: "Attached", options: "MountOptions", settings: Settings, hubs_max: int
) -> None:
    import signal

    import trio

    from hubfs.mount import serve_hubs

    async def until_told() -> None:
        async with trio.open_nursery() as nursery:

            async def end_on_signal() -> None:
                with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                    async for _ in signals:
                        nursery.cancel_scope.cancel()

            nursery.start_soon(end_on_signal)
            await serve_hubs(attached, options, settings, hubs_max=hubs_max, ready=lambda _: None)
            nursery.cancel_scope.cancel()

    trio.run(until_told)


run = entry(parser, main)

if __name__ == "__main__":
    raise SystemExit(run())
