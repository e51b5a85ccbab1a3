"""Openings: one that ended is told from a later one of the same file."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fossil_fs.overlay.openings import Openings


@given(st.lists(st.tuples(st.sampled_from(["begin", "end", "forget"]), st.integers(1, 3))))
def test_openings_go_on_while_a_descriptor_is_left(steps: list[tuple[str, int]]) -> None:
    openings = Openings()
    model: Counter[int] = Counter()
    for step, ino in steps:
        before = [one for one in openings.now() if one.ino == ino]
        getattr(openings, step)(ino)
        model[ino] = {"begin": model[ino] + 1, "end": max(model[ino] - 1, 0), "forget": 0}[step]
        assert {one.ino for one in openings.now()} == {ino for ino in model if model[ino]}
        for one in before:
            assert openings.goes_on(one) is bool(model[ino])


def test_a_file_that_was_closed_and_opened_again_is_another_opening() -> None:
    openings = Openings()
    openings.begin(7)
    (first,) = openings.now()
    openings.end(7)
    openings.begin(7)
    assert not openings.goes_on(first)
    assert openings.now() != [first]
