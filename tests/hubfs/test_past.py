"""What a screen that joins late is shown: everything but what it would answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.shell.past import without_questions

QUESTIONS = [
    b"\x1b[6n", b"\x1b[?6n", b"\x1b[5n", b"\x1b[c", b"\x1b[0c", b"\x1b[>c", b"\x1b[>0;1c",
    b"\x1b[=c", b"\x1b[x", b"\x1b[?2026$p", b"\x1b[4$p", b"\x1b[>q", b"\x1b[>0q", b"\x1b[?u",
    b"\x1b[14t", b"\x1b[18t", b"\x1b[21t", b"\x1b[14;2t", b"\x1b]11;?\x07", b"\x1b]10;?\x1b\\",
    b"\x1b]4;7;?\x07", b"\x1b]52;c;?\x07", b"\x1bP+q544e\x1b\\", b"\x1bP$qm\x1b\\", b"\x1bZ",
    b"\x05",
]  # fmt: skip
STATEMENTS = [
    b"text", b"gr\xc3\xb6\xc3\x9fe", b"\r\n", b"\x1b[0m", b"\x1b[1;31m", b"\x1b[2J", b"\x1b[H",
    b"\x1b[12;40H", b"\x1b[?25l", b"\x1b[?1049h", b"\x1b[2 q", b"\x1b]0;a title?\x07",
    b"\x1b]11;#000000\x07", b"\x1b(B", b"\x1b[?4m", b"\x1b[>4;2m", b"\x1b[8;24;80t",
    b"\x1b[22;0;0t", b"\x1b7", b"\x1b=", b"\x1b[3g", b"what? 6n c",
]  # fmt: skip


@pytest.mark.parametrize("question", QUESTIONS, ids=repr)
def test_what_a_terminal_answers_is_left_out(question: bytes) -> None:
    assert without_questions(b"before" + question + b"after") == (b"beforeafter", b"")


@pytest.mark.parametrize("statement", STATEMENTS, ids=repr)
def test_everything_else_is_shown(statement: bytes) -> None:
    assert without_questions(statement + b".") == (statement + b".", b"")


@given(
    st.lists(st.sampled_from([(q, True) for q in QUESTIONS] + [(s, False) for s in STATEMENTS])),
    st.lists(st.integers(1, 9), min_size=1),
)
def test_the_pieces_it_comes_in_do_not_matter(
    parts: list[tuple[bytes, bool]], sizes: list[int]
) -> None:
    said = b"".join(part for part, _ in parts)
    shown = begun = b""
    turn = 0
    while said:
        size = sizes[turn % len(sizes)]
        turn += 1
        piece, said = said[:size], said[size:]
        more, begun = without_questions(begun + piece)
        shown += more
    assert shown + begun == b"".join(part for part, asks in parts if not asks)


def test_what_never_ends_is_shown_all_the_same() -> None:
    title = b"\x1b]0;" + b"x" * 10_000
    assert without_questions(title) == (title, b"")
