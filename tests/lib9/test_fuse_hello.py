"""The answer to INIT, and the module boundary that keeps handlers from invalidating caches."""

import ast
import struct
from dataclasses import fields
from pathlib import Path

import pytest

from lib9.errors import Exit, SpawngridError
from lib9.fuse import hello, interface
from lib9.fuse.failures import errno_of
from lib9.fuse.options import MountOptions

TOP = Path(__file__).parents[2]
EVERYTHING = (1 << 64) - 1
ANSWER = struct.Struct("=IIIIHHIIHHII24x")


def _granted(answer: bytes) -> set[str]:
    fields = ANSWER.unpack(answer)
    flags = fields[3] | fields[10] << 32
    return {name for name, bit in hello.FLAGS.items() if bit & flags}


def test_golden_bytes() -> None:
    answer = hello.init_answer(45, EVERYTHING, MountOptions("f", "s"))
    assert answer.hex() == (
        "07000000" "28000000" "00002000" "29b0c450" "4000" "3000" "00001000" "01000000" "0001" "0000"
        + "00000000" * 8
    )  # fmt: skip


def test_what_is_asked_for() -> None:
    plain = _granted(hello.init_answer(45, EVERYTHING, MountOptions("f", "s")))
    assert plain >= {
        "HANDLE_KILLPRIV_V2",
        "PARALLEL_DIROPS",
        "CACHE_SYMLINKS",
        "AUTO_INVAL_DATA",
        "ATOMIC_O_TRUNC",
    }
    assert not plain & {"WRITEBACK_CACHE", "POSIX_ACL", "ALLOW_IDMAP"}
    no_open = _granted(hello.init_answer(45, EVERYTHING, MountOptions("f", "s", no_open=True)))
    assert plain - no_open == {"ATOMIC_O_TRUNC"}  # else O_TRUNC would be lost
    unsafe = MountOptions("f", "s", idmapped=True, default_permissions=False)
    assert "ALLOW_IDMAP" not in _granted(hello.init_answer(45, EVERYTHING, unsafe))
    safe = MountOptions("f", "s", idmapped=True)
    assert "ALLOW_IDMAP" in _granted(hello.init_answer(45, EVERYTHING, safe))


def test_only_what_the_kernel_offers_is_taken() -> None:
    options = MountOptions("f", "s", writeback_cache=True, posix_acl=True)
    assert _granted(hello.init_answer(31, 0, options)) == set()
    assert ANSWER.unpack(hello.init_answer(31, 0, options))[:2] == (7, 31)


class _Full(SpawngridError):
    exit_code = Exit.NO_SPACE


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(2, "x"), 2),
        (OSError("no number"), 5),
        (OSError(0, "x"), 5),
        (OSError(512, "x"), 5),
        (SpawngridError("store is away"), 5),
        (_Full("disk"), 28),
        (ValueError("bug"), 5),
        (ExceptionGroup("g", [ValueError("bug")]), 5),
        (RecursionError(), 5),
    ],
)
def test_errnos(error: Exception, expected: int) -> None:
    assert errno_of(error, "read") == expected


def test_a_handler_has_no_way_to_invalidate() -> None:
    """Invalidating from a handler deadlocks with the kernel: nothing a file system gets can do it."""
    shim = (TOP / "lib9/fuse/_shim.pyi").read_text()
    assert [word for word in shim.split() if word.startswith("notify")] == ["notify_poll(handle:"]
    for path in sorted((TOP / "lib9/fuse").glob("*.py")):
        tree = ast.parse(path.read_text())
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not {name for name in names if "invalidate" in name or name == "notify_store"}, path
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert "pyfuse3" not in imported or path.name == "library.py"
    assert not [name for name in dir(interface.Operations) if "inval" in name]


def test_the_page_names_every_option() -> None:
    page = (TOP / "docs/reference/engine.md").read_text()
    for field in fields(MountOptions):
        assert f"\n| `{field.name}` | " in page, field.name
    assert f"| {MountOptions('f', 's').max_tasks} |" in page
    assert f"| {MountOptions('f', 's').read_ahead_kib} |" in page
    assert f"| background requests | {hello.MAX_BACKGROUND} |" in page
