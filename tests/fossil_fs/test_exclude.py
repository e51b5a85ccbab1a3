"""Patterns of --exclude."""

import fnmatch
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fossil_fs.ingest.exclude import Exclude
from tests.fossil_fs.trees import run

CASES = [
    # pattern, path, as a file, as a directory
    (b"*.o", b"a.o", True, True),
    (b"*.o", b"x/y/a.o", True, True),
    (b"*.o", b"a.out", False, False),
    (b"core", b"x/core", True, True),
    (b"core", b"xcore", False, False),
    (b"core", b"core/x", False, False),
    (b"build/", b"build", False, True),
    (b"build/", b"x/build", False, True),
    (b"/build", b"build", True, True),
    (b"/build", b"x/build", False, False),
    (b"/build/", b"build", False, True),
    (b"a/b", b"a/b", True, True),
    (b"a/b", b"x/a/b", False, False),
    (b"a/*", b"a/b", True, True),
    (b"a/*", b"a/b/c", False, False),
    (b"a/**", b"a/b/c", True, True),
    (b"**/b", b"b", True, True),
    (b"**/b", b"x/y/b", True, True),
    (b"a/**/b", b"a/b", True, True),
    (b"a/**/b", b"a/x/y/b", True, True),
    (b"a/**/b", b"ab", False, False),
    (b"?", b"x", True, True),
    (b"?", b"xy", False, False),
    (b"[a-c]", b"b", True, True),
    (b"[!a-c]", b"b", False, False),
    (b"[!a-c]", b"d", True, True),
    (b"[]]", b"]", True, True),
    (b"[c-a]", b"b", False, False),
    (b"[", b"[", True, True),
    (b"[a", b"[a", True, True),
    (b"\\*", b"*", True, True),
    (b"\\*", b"x", False, False),
    (b"a.b", b"axb", False, False),
    (b"\xff*", b"\xff\xfe", True, True),
    (b"*", b"with\nnewline", True, True),
]


@pytest.mark.parametrize(("pattern", "path", "file", "directory"), CASES)
def test_what_a_pattern_means(pattern: bytes, path: bytes, file: bool, directory: bool) -> None:
    exclude = Exclude([b"never", pattern])
    assert exclude(path, directory=False) is file
    assert exclude(path, directory=True) is directory


def test_no_patterns_exclude_nothing() -> None:
    assert not Exclude([])
    assert not Exclude([])(b"x", directory=True)


@given(st.text("ab*?[]!-x", min_size=1, max_size=8), st.text("abx[]!-", min_size=1, max_size=6))
def test_for_single_names_it_is_fnmatch(pattern: str, name: str) -> None:
    try:
        found = Exclude([pattern.encode()])(name.encode(), directory=False)
    except Exception as error:  # fnmatch passes over ranges that end before they begin
        raise AssertionError(f"{pattern!r} cannot be compiled") from error
    if "[" not in pattern:
        assert found == fnmatch.fnmatchcase(name, pattern)


def test_the_command_leaves_out_what_matches(home: Path) -> None:
    for path in ("keep", "a.o", "build/x", "sub/build/x", "sub/a.o", "sub/keep"):
        (home / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        (home / "tree" / path).write_text("x")
    done = run("vac", "--exclude", "*.o", "--exclude", "/build/", home / "tree")
    listed = run("unvac", "-t", done.stdout.strip()).stdout.split()
    assert listed == ["keep", "sub", "sub/build", "sub/build/x", "sub/keep"]
