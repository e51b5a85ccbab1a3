import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib9.errors import UsageError
from lib9.sizes import format_count, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("100M", 100 << 20),
        ("64KiB", 65536),
        ("1.5g", 3 << 29),
        ("1TB", 1 << 40),
    ],
)
def test_sizes_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1", "1 000", "1x", "1MM", "0x10", "1e3", "٣"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="not a size"):
        parse_size(text)


@given(st.integers(0, 1 << 62))
def test_printed_sizes_parse_back_to_about_the_same(size: int) -> None:
    assert abs(parse_size(format_size(size)) - size) <= size * 0.06


@pytest.mark.parametrize(
    ("text", "seconds"), [("5s", 5), ("250ms", 0.25), ("2h", 7200), ("1.5", 1.5)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1w", "5 minutes"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("count", "words", "text"),
    [
        (0, ("name",), "0 names"),
        (1, ("name",), "1 name"),
        (2, ("name",), "2 names"),
        (12_345, ("entry", "entries"), "12,345 entries"),
        (1, ("bad copy has a good one", "bad copies have a good one"), "1 bad copy has a good one"),
    ],
)
def test_counts_as_people_say_them(count: int, words: tuple[str, ...], text: str) -> None:
    assert format_count(count, *words) == text
    assert format_count(count, *words, commas=False) == text.replace(",", "")
