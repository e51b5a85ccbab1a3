"""The extension module and the Python beside it belong together, or it is noticed."""

import hashlib
import re
from pathlib import Path

import pytest

from lib9.fuse import library
from tests.lib9.mounting import TOP

FOLDER = TOP / "lib9/fuse"
RENEW = "the C sources have changed: run tools/shim-sources, then make setup"


def digest() -> str:
    files = sorted(
        p for p in FOLDER.iterdir() if p.suffix in (".c", ".h") and p.name != "sources.h"
    )
    return hashlib.sha256(b"".join(map(Path.read_bytes, files))).hexdigest()[:16]


def test_c_and_python_say_the_digest_of_the_sources_as_they_are() -> None:
    found = re.findall(r'SHIM_SOURCES "([0-9a-f]+)"', (FOLDER / "sources.h").read_text())
    assert [library.SHIM_SOURCES, *found] == [digest(), digest()], RENEW


@pytest.mark.shim("an extension module that is built")
def test_the_module_that_is_here_was_built_from_them() -> None:
    assert library.shim is not None
    assert library.shim.sources == digest(), RENEW
