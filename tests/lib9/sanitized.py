"""memfsd on a shim from elsewhere: python -m tests.lib9.sanitized SHIM.so MOUNTPOINT [OPTIONS]."""

import importlib.machinery
import importlib.util
import os
import sys

import trio


def load(path: str) -> None:
    """Make the extension module at `path` the one that the engine finds."""
    name = "lib9.fuse._shim"
    loader = importlib.machinery.ExtensionFileLoader(name, path)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    flags = sys.getdlopenflags()
    sys.setdlopenflags(os.RTLD_NOW | os.RTLD_GLOBAL)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    loader.exec_module(sys.modules[name])
    sys.setdlopenflags(flags)


if __name__ == "__main__":
    load(sys.argv.pop(1))
    from lib9.fuse.library import shim
    from tests.lib9 import memfsd

    assert shim is sys.modules["lib9.fuse._shim"]
    trio.run(memfsd.main, memfsd.parser().parse_args())
