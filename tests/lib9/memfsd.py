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
    made.add_argument("--built-before", metavar="DIGEST", help="a shim from other sources")
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
    """The shim as an earlier build, which said what it was built from, or did not know."""

    def __init__(self, shim: ModuleType, sources: str) -> None:
        self._shim = shim
        self._sources = sources

    def __getattr__(self, name: str) -> object:
        if name != "sources":
            return getattr(self._shim, name)
        if not self._sources:
            raise AttributeError(name)
        return self._sources


async def main(arguments: argparse.Namespace) -> None:

    if arguments.built_before is not None:
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
            stock=arguments.stock and arguments.built_before is None,
        )
        nursery.cancel_scope.cancel()
    print(f"destroyed={fs.destroyed} inodes={len(fs.inodes)}", flush=True)


if __name__ == "__main__":
    trio.run(main, parser().parse_args())
