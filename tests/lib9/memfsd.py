"""memfs as a program that serves one mount: python -m tests.lib9.memfsd MOUNTPOINT."""

import argparse
import os
import signal
from collections.abc import Sequence
from types import ModuleType

import trio

from lib9.fuse import session
from lib9.fuse.options import MountOptions
from lib9.fuse.session import Served, serve
from tests.lib9.memfs import MemFs


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    made.add_argument("mountpoint")
    made.add_argument("--stock", action="store_true")
    made.add_argument("--built-before", metavar="NAME", help="a shim whose NAME was another then")
    made.add_argument("--option", action="append", default=[], help="NAME or NAME=VALUE")
    made.add_argument(
        "--populate", type=int, default=0, help="files of 4 KiB in each of 40 folders"
    )
    made.add_argument("--keep", type=float, default=86400.0)
    return made


def options_of(words: Sequence[str]) -> MountOptions:
    options = MountOptions("memfs", "memfs")
    for word in words:
        name, _, value = word.partition("=")
        setattr(options, name, int(value or 1))
    return options


class BuiltBefore:
    """The shim as an earlier build: `activate` took one argument less, anything else was not there."""

    def __init__(self, shim: ModuleType, name: str) -> None:
        self._shim = shim
        self._name = name

    def __getattr__(self, name: str) -> object:
        if name != self._name:
            return getattr(self._shim, name)
        if name != "activate":
            raise AttributeError(f"module has no attribute {name!r}")
        return lambda *arguments: self._shim.activate(*arguments[1:])


async def main(arguments: argparse.Namespace) -> None:

    if arguments.built_before:
        session.shim = BuiltBefore(session.shim, arguments.built_before)
    fs = MemFs(keep_seconds=arguments.keep)

    if arguments.populate:
        fs.populate(arguments.populate)

    def ready(served: Served) -> None:
        print(f"ready engine={served.engine} minor={served.minor}", flush=True)

    async with trio.open_nursery() as nursery:

        async def stop() -> None:
            with trio.open_signal_receiver(signal.SIGTERM) as signals:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

        nursery.start_soon(stop)
        await serve(
            fs,
            os.fsencode(arguments.mountpoint),
            options_of(arguments.option),
            ready=ready,
            stock=arguments.stock and not arguments.built_before,
        )
        nursery.cancel_scope.cancel()
    print(f"destroyed={fs.destroyed} inodes={len(fs.inodes)}", flush=True)


if __name__ == "__main__":
    trio.run(main, parser().parse_args())
