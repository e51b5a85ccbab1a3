"""Lines of hubs and requests: what may be said, and what is refused whatever it would do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spawngrid.errors import BadWord
from spawngrid.hubtexts.words import (
    WORDS_MAX,
    Line,
    check_user_or_node,
    check_words,
    line_of,
    parse_line,
)

HOSTILE = (
    "../../etc/passwd",
    "..",
    "a/../b",
    "$(reboot)",
    "`reboot`",
    "a;b",
    "a|b",
    "a&b",
    "a>b",
    "a\nb",
    "a\tb",
    "a b",
    "a'b",
    'a"b',
    "-rf",
    "",
    "a\0b",
    "naïve",
    "#x",
    "{a,b}",
    "a\\b",
)


def test_a_line_is_what_it_was_made_of() -> None:
    line = parse_line("fetch 1 clean glenda vac:ab node=cpu1 disk=1024")
    assert line == Line(
        "fetch", ("1", "clean", "glenda", "vac:ab"), {"node": "cpu1", "disk": "1024"}
    )
    assert str(line) == "fetch 1 clean glenda vac:ab node=cpu1 disk=1024"


@pytest.mark.parametrize(
    "text", ["", " spawn x", "a=1", "spawn a=1 b", "spawn a=1 a=2", "spawn  x"]
)
def test_what_is_no_line(text: str) -> None:
    with pytest.raises(BadWord):
        parse_line(text)


@pytest.mark.parametrize(
    "word", [w for w in HOSTILE if w not in ("..", "../../etc/passwd", "a/../b", "-rf")]
)
def test_no_word_means_something_to_a_shell(word: str) -> None:
    with pytest.raises(BadWord):
        check_words(("spawn", word))


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_leads_elsewhere(name: str) -> None:
    with pytest.raises(BadWord):
        check_user_or_node(name)


@given(st.text(max_size=40))
def test_what_is_taken_is_plain(word: str) -> None:
    try:
        check_user_or_node(word)
    except BadWord:
        return
    assert word.isascii()
    assert word.isprintable()
    assert "/" not in word
    assert word not in (".", "..")
    assert not word.startswith(("-", "."))


def test_limits() -> None:
    check_words(("a",) * WORDS_MAX)
    with pytest.raises(BadWord):
        check_words(("a",) * (WORDS_MAX + 1))
    check_user_or_node("a" * 64)
    with pytest.raises(BadWord):
        check_user_or_node("a" * 65)
    with pytest.raises(BadWord):
        line_of(["x" * 20000 + "\n"])
