import pytest
from hypothesis import given
from hypothesis import strategies as st

from venti_store.errors import BadScore
from venti_store.kind import Kind, from_memory, level, pointer, to_memory
from venti_store.score import BLAKE3, SHA1, Family, format_score, parse_score


@pytest.mark.parametrize("family", [BLAKE3, SHA1], ids=lambda f: f.name)
@given(data=st.binary())
def test_a_score_prints_and_parses_back(family: Family, data: bytes) -> None:
    score = family.score(data)
    assert family.parse(format_score(score)) == parse_score(score.hex().upper()) == score


def test_the_score_of_nothing_is_the_one_of_plan_9() -> None:
    assert SHA1.nothing.hex() == "da39a3ee5e6b4b0d3255bfef95601890afd80709"
    assert SHA1.is_nothing(SHA1.nothing)
    assert SHA1.is_nothing(bytes(20))
    assert not SHA1.is_nothing(SHA1.score(b"x"))


@pytest.mark.parametrize(
    "text", ["", "vac:", "x" * 40, "0" * 39, "0" * 41, "abc:" + "0" * 40, "vac:vac:" + "0" * 40]
)
def test_what_is_no_score(text: str) -> None:
    with pytest.raises(BadScore):
        parse_score(text)


def test_a_score_of_the_other_family_is_refused() -> None:
    with pytest.raises(BadScore, match="blake3 score has 64"):
        BLAKE3.parse("0" * 40)


def test_memory_numbers_are_those_of_the_table() -> None:
    assert [int(from_memory(n)) for n in range(17)] == [
        13,
        3,
        4,
        5,
        6,
        7,
        8,
        9,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        9,
        1,
    ]
    assert {k: to_memory(k) for k in Kind} == {
        1: 16,
        2: 8,
        3: 9,
        4: 10,
        5: 11,
        6: 12,
        7: 13,
        8: 14,
        9: 15,
        13: 0,
    }
    assert [level(pointer(n)) for n in range(1, 8)] == list(range(1, 8))
    for number in (-1, 17):
        with pytest.raises(ValueError, match="no block type"):
            from_memory(number)
