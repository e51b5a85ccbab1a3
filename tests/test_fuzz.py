"""A moment of fuzzing for every decoder; `make fuzz` gives them longer."""

import pytest

from tests import fuzz

INPUTS = fuzz.corpus()


@pytest.mark.parametrize("name", sorted(fuzz.DECODERS))
def test_decoders_take_anything(name):
    assert fuzz.run(name, fuzz.DECODERS[name], INPUTS, seed=1, seconds=0.2) > 0


def test_a_decoder_that_does_not_is_found():
    def bad(data):
        if len(data) == 7:
            raise IndexError

    with pytest.raises(SystemExit, match="not handled, seed 1"):
        fuzz.run("bad", bad, INPUTS, seed=1, seconds=5)
