import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndbdb.errors import MissingAttribute, Unprintable
from ndbdb.parser import parse, unparse
from ndbdb.record import Line, Pair, Record
from tests.ndbdb import strategies


def pairs(text: str) -> list[list[tuple[str, str]]]:
    return [[(p.attr, p.value) for p in record.pairs()] for record in parse(text)]


@given(strategies.records)
def test_what_is_printed_parses_back(record: Record) -> None:
    assert list(parse(unparse(record))) == [record]


@given(st.lists(strategies.records, max_size=5))
def test_records_do_not_run_into_each_other(records: list[Record]) -> None:
    assert list(parse("".join(map(unparse, records)))) == records


@given(strategies.texts)
def test_whatever_was_parsed_can_be_printed(text: str) -> None:
    records = list(parse(text))
    assert list(parse("".join(map(unparse, records)))) == records


@given(st.binary(max_size=60))
def test_bytes_that_are_not_utf8_are_kept(data: bytes) -> None:
    text = data.replace(b"\0", b"").decode(errors="surrogateescape") + "\n"
    records = list(parse(text))
    stored = "".join(map(unparse, records)).encode(errors="surrogateescape")
    assert list(parse(stored.decode(errors="surrogateescape"))) == records


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1 b=2\n", [[("a", "1"), ("b", "2")]]),
        ("a=1\n\tb=2\n c=3\n", [[("a", "1"), ("b", "2"), ("c", "3")]]),
        ("a=1\n# comment\n\tb=2\n", [[("a", "1"), ("b", "2")]]),
        ("a=1\n\n\tb=2\n", [[("a", "1")], [("b", "2")]]),
        ("a=1\n \n\tb=2\n", [[("a", "1"), ("b", "2")]]),
        ("\n\n  a=1\n", [[("a", "1")]]),
        ("a=1\nb=2", [[("a", "1")]]),
        ("a=1", []),
        ("a = b\n", [[("a", ""), ("b", "")]]),
        ("a =b\n", [[("a", "b")]]),
        ("a= =b\n", [[("a", ""), ("", "b")]]),
        ('a="x y" b=c"d e=\'f g\'\n', [[("a", "x y"), ("b", 'c"d'), ("e", "'f"), ("g'", "")]]),
        ('a="x"y=1\n', [[("a", "x"), ("y", "1")]]),
        ('a="x y\n\tb=1\n', [[("a", "x y"), ("b", "1")]]),
        ("a=#x b=1\n\tc=2#3 #d=4\n", [[("a", ""), ("c", "2#3")]]),
        ("a#b=1\n", [[("a#b", "1")]]),
        ("a==b=c\n", [[("a", "=b=c")]]),
        ("=x\n", [[("", "x")]]),
        ("=\n", [[("", "")]]),
        ("a=1\r\nb=2\r\n\r\n\tc=3\r\n", [[("a", "1")], [("b", "2"), ("c", "3")]]),
        ("a\x0bb=1\x85\u2028\n", [[("a\x0bb", "1\x85\u2028")]]),
        ("   \n# only\n\n", []),
    ],
)
def test_grammar(text: str, expected: list[list[tuple[str, str]]]) -> None:
    assert pairs(text) == expected


@pytest.mark.parametrize("length", [30, 31, 32, 100])
def test_attributes_are_cut_to_31_bytes(length: int) -> None:
    assert pairs("x" * length + "=1\n") == [[("x" * min(length, 31), "1")]]


def test_attributes_are_cut_by_bytes_not_characters() -> None:
    [[(attr, _)]] = pairs("x" + "é" * 16 + "=1\n")
    assert attr.encode(errors="surrogateescape") == ("x" + "é" * 15).encode()
    [[(attr, _)]] = pairs("é" * 16 + "=1\n")
    assert attr.encode(errors="surrogateescape") == "é".encode() * 15 + b"\xc3"


@pytest.mark.parametrize(
    "pair",
    [
        Pair("a b", "1"),
        Pair("a=b", "1"),
        Pair("#a", "1"),
        Pair("a\n", "1"),
        Pair("a", "1\n2"),
        Pair("a", "1\0"),
        Pair("a", 'x "y'),
        Pair("a", '"'),
        Pair("a", '#"'),
        Pair("a\rb", ""),
        Pair("x" * 32, "1"),
        Pair("é" * 16, "1"),
        Pair("a", "\ud800"),
        Pair("a", "\udcc3\udca9"),  # would come back as one character
    ],
)
def test_what_cannot_be_printed_is_refused(pair: Pair) -> None:
    with pytest.raises(Unprintable, match=r"'"):
        unparse(Record((Line((pair,)),)))


@pytest.mark.parametrize("record", [Record(()), Record((Line(()),))])
def test_empty_records_are_refused(record: Record) -> None:
    with pytest.raises(Unprintable, match="at least one pair"):
        unparse(record)


def test_records_know_file_and_line() -> None:
    first, second = parse("# head\n\na=1\n\tb=2\n#c\n\td=4\ne=5\n", "net/local")
    assert first.where == "net/local:3"
    assert [line.number for line in first.lines] == [3, 4, 6]
    assert second.where == "net/local:7"
    with pytest.raises(MissingAttribute, match=r"^net/local:7: the record has no ip=$"):
        second.need("ip")
    assert second.need("e") == "5"
    assert first.all("b") == ["2"]
