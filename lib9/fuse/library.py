"""pyfuse3, with the shim loaded before it: the only module that imports either.

The order matters: the shim's symbols must be in the process's global scope when pyfuse3's extension
module looks for libfuse's. `shim` is None where it was not built or comes too late.
"""

import os
import sys
from types import ModuleType
from typing import Final

SHIM_SOURCES: Final = "6cf99038914ced82"
"""A digest of the C sources that this side is written for; `shim.sources`: of those it was built from."""


def _load_shim() -> ModuleType | None:
    if "pyfuse3" in sys.modules:
        return None
    flags = sys.getdlopenflags()
    sys.setdlopenflags(os.RTLD_NOW | os.RTLD_GLOBAL)
    try:
        from lib9.fuse import _shim
    except ImportError:
        return None
    finally:
        sys.setdlopenflags(flags)
    return _shim


shim = _load_shim()

import pyfuse3  # noqa: E402 after the shim

__all__ = ["SHIM_SOURCES", "pyfuse3", "shim"]
