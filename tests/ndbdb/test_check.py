from pathlib import Path

import pytest

from ndbdb.check import check

DATA = Path(__file__).parent.parent / "data" / "ndb"


def said(text: str) -> list[str]:
    return [str(problem) for problem in check(text, "f")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a=1\nsys=b", "f:2: the last line has no newline: it is not read"),
        ('a=1\n\tb="x y c=2\n', "f:2: unterminated quote: b is the rest of the line"),
        ("x" * 32 + "=1\n", f"f:1: attribute over 31 bytes, cut to '{'x' * 31}'"),
        ("a = b\n", "f:1: white space after '=': a is empty and 'b' an attribute of its own"),
        ("a= b c=1\n", "f:1: white space after '=': a is empty and 'b' an attribute of its own"),
        ("flag =b\n", "f:1: white space before '=': belongs to flag"),
        ("=b\n", "f:1: nothing before '=': an attribute without a name"),
        ("a=#b\n", "f:1: '#' right after '=': a is empty and the rest a comment; quote it"),
        ("a='b'\n", "f:1: single quotes do not quote: a is 'b'"),
        ('a=b"c"\n', 'f:1: quote within a value: a is b"c"'),
        ('a="b"c=1\n', "f:1: text right behind a closing quote: 'c' is an attribute of its own"),
        ("a=1\n\n\tb=2\n", "f:3: indented, but there is no record above to go on with: a record of its own"),
        ("a=1\r\n", "f:1: carriage return: white space here, so a line of only that ends no record"),
        ("a=\udcff\n", "f:1: not UTF-8"),
        ("a=\0\n", "f:1: NUL byte"),
    ],
)  # fmt: skip
def test_each_trap_is_named_once(text: str, problem: str) -> None:
    assert said(text) == [problem]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# comment\n\nsys=a ip=1 # c\n\tflag dom=x\n# c\n\tb=\"x y\" c=\n\n \n",
        "a= b=1\n",
        "a=\n",
        'a="x"# comment\n',
        'a="" b\n',
        "x" * 31 + "=1\n",
        "dial=tcp!h!1 hash=a#b=c\n",
        "database=\n\tfile=local\n",
        "a=1\n\t# comment\n\tb=2\n",
    ],
)  # fmt: skip
def test_what_is_well_written_is_not_complained_about(text: str) -> None:
    assert said(text) == []


def test_the_recorded_files() -> None:
    text = (DATA / "local").read_text()
    lines = [(problem.line, problem.what.split(":")[0]) for problem in check(text, "local")]
    assert lines == [
        (9, "'#' right after '='"),
        (15, "unterminated quote"),
        (17, "white space after '='"),
        (22, "single quotes do not quote"),
        (25, "nothing before '='"),
    ]
