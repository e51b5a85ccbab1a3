"""A command that mounts memfs first: python -m tests.lib9.mountfirst MOUNTPOINT LOG [failure] [GRACE]."""

import os
import sys
from collections.abc import Callable

from lib9.errors import SpawngridError
from lib9.fuse.attach import Attached
from lib9.fuse.first import mount_first
from lib9.fuse.options import MountOptions


def daemon(attached: Attached, ready: Callable[[], None]) -> None:
    if "store" in sys.argv:
        raise SpawngridError("store is away")
    if "bug" in sys.argv:
        raise ValueError("a bug")
    import trio

    from lib9.fuse.session import serve
    from tests.lib9.memfs import MemFs

    options = MountOptions("memfs", "memfs")
    trio.run(lambda: serve(MemFs(), attached, options, ready=lambda _served: ready()))


if __name__ == "__main__":
    assert "trio" not in sys.modules
    grace = float(sys.argv[-1]) if sys.argv[-1].replace(".", "").isdigit() else 0.0
    try:
        mount_first(
            os.fsencode(sys.argv[1]),
            MountOptions("memfs", "memfs"),
            daemon,
            log=os.fsencode(sys.argv[2]),
            grace_seconds=grace,
        )
    except SpawngridError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{os.fsdecode(error.filename)}: {error.strerror}")
