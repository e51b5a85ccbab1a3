import shlex
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib9.errors import UsageError
from venti_store.names.errors import BadName
from venti_store.names.words import (
    NAME_BYTES_MAX,
    TIME_MAX,
    USER_BYTES_MAX,
    Reference,
    check_name,
    check_user,
    format_time,
    parse_moment,
    parse_reference,
    parse_time,
    split_full,
    split_prefix,
)


@pytest.mark.parametrize("name", ["usr", "größe", "a-b_c.d", "g++", "0" * 39, "x" * NAME_BYTES_MAX])
def test_what_can_be_a_name(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "a..b", "a.", ".a", "a b", "a/b", "../a", "a~1", "a=b", 'a"b', "a'b", "#a"),
        *("-a", "a:b", "a\n", "a\0", "a@b", "$(id)", "`id`", "$HOME", "a;b", "a&b", "a|b", "a>b"),
        *("a*", "a?", "a[b]", "{a,b}", "a\\b", "a!b", "a%b", "a,b", "(a)", "a^b"),
        *("vac:" + "0" * 64, "0" * 64, "F" * 40, "\x9b", "x" * (NAME_BYTES_MAX + 1)),
        *("é" * (NAME_BYTES_MAX // 2) + "x", "\udc80", "usr.0123456789abcdef", "e\u0301", "\u202ea"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_name(name: str) -> None:
    with pytest.raises(BadName):
        check_name(name)


@given(st.text(max_size=20))
def test_a_name_needs_no_quotes_and_is_a_file_name(name: str) -> None:
    try:
        check_name(name)
    except BadName:
        return
    assert not name.isascii() or shlex.quote(name) == name
    assert name.isprintable()
    assert "/" not in name
    assert parse_reference(name) == Reference(name, name)


@pytest.mark.parametrize("user", ["glenda", "a.b-c@d_1", "0", "x" * USER_BYTES_MAX])
def test_users(user: str) -> None:
    assert check_user(user) == user


@pytest.mark.parametrize(
    "user", ["", "*", "-a", ".a", "a b", "a/b", "a\n", "$a", "é", "x" * (USER_BYTES_MAX + 1)]
)
def test_no_users(user: str) -> None:
    with pytest.raises(BadName):
        check_user(user)


@given(st.integers(0, TIME_MAX))
def test_times(time: int) -> None:
    text = format_time(time)
    assert parse_time(text) == time
    assert datetime.fromisoformat(text).timestamp() == pytest.approx(time / 1e6)


def test_what_a_person_types_for_a_name() -> None:
    day = int(datetime(2026, 2, 1, tzinfo=UTC).timestamp()) * 1_000_000
    assert parse_reference("usr~12") == Reference("usr~12", "usr", back=12)
    assert parse_reference("usr@2026-01-31").until == day - 1
    assert parse_reference("usr@2026-02-01T00:00").until == day
    assert parse_reference("usr@2026-02-01T01:00+01:00").until == day
    full = "usr.0123456789abcdef"
    assert parse_reference(full) == Reference(full, full)
    assert split_full(full) == ("usr", "0123456789abcdef")
    assert split_prefix("a.b.012") == ("a.b", "012")
    for text in ("usr", "usr.01", "usr.0123456789abcdef0"):
        assert split_prefix(text) is None
    for text in ("../x.0123456789abcdef", "usr.0123456789ABCDEF", "usr"):
        assert split_full(text) is None
    for bad in (
        "usr@",
        "usr@yesterday",
        "usr@2026-13-01",
        "a/b",
        "usr~",
        "usr~1~1",
        "~1",
        "usr~-1",
    ):
        with pytest.raises(UsageError):
            parse_reference(bad)
    assert parse_moment("1969-12-31") == -1
