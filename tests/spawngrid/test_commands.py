"""The words of grid: each is where the table says, and the quick ones load no event loop."""

import argparse
import subprocess
import sys

import pytest

from spawngrid.cli.grid import COMMANDS, parser


def words_of(p: argparse.ArgumentParser) -> set[str]:
    [sub] = [a for a in p._actions if isinstance(a, argparse._SubParsersAction)]
    return set(sub.choices)


@pytest.mark.parametrize("module", COMMANDS)
def test_a_word_is_found_without_the_others(module: str) -> None:
    for word in COMMANDS[module]:
        assert words_of(parser(word)) == set(COMMANDS[module])


def test_all_words_are_in_the_table() -> None:
    listed = [word for words in COMMANDS.values() for word in words]
    assert sorted(listed) == sorted(words_of(parser()))
    assert words_of(parser("no-such-word")) == words_of(parser())


@pytest.mark.parametrize("words", [["status"], ["run", "env", "true"], ["attach", "env"]])
def test_the_client_loads_no_event_loop(words: list[str]) -> None:
    script = (
        "import sys; sys.argv[1:] = sys.argv[2:]\n"
        "from spawngrid.cli.grid import parser; parser(sys.argv[1])\n"
        "from spawngrid.client import asking, entering, grids, places\n"
        "assert 'trio' not in sys.modules and 'pyfuse3' not in sys.modules, 'an event loop'\n"
    )
    subprocess.run([sys.executable, "-c", script, "-", *words], check=True, timeout=60)
