"""Every command of ours that a page tells people to type has these subcommands and these options."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest

from docs._ext.commands import PROJECT
from lib9.cli import Parser
from lib9.errors import UsageError
from tests.docs.blocks import PAGES, TOP, blocks, simple_commands

SCRIPTS: dict[str, str] = tomllib.loads(PROJECT.read_text())["project"]["scripts"]
NUMBERS = {"SECONDS": "5", "N": "5"}


def typed() -> list[tuple[str, list[str]]]:
    """Return the place and the words of every such command."""
    found = []
    for page in PAGES:
        for block in blocks(page):
            for command in block.commands():
                for words in simple_commands(command.line):
                    name = Path(words[0]).name
                    if name in SCRIPTS:
                        found.append(
                            (f"{page.relative_to(TOP)}: {command.line}", [name, *words[1:]])
                        )
    return found


def mentioned() -> list[tuple[str, list[str]]]:
    """Return the same for commands within sentences, which may leave arguments out."""
    found = []
    for page in PAGES:
        for line in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", page.read_text()):
            words = line.split()
            if words and words[0] in SCRIPTS and len(words) > 1 and not set("|[<>") & set(line):
                found.append((f"{page.relative_to(TOP)}: {line}", words))
    return found


def services() -> list[tuple[str, list[str]]]:
    """Return the same for systemd's units, in pages and in the repository."""
    found = []
    for page in [*PAGES, *(TOP / "systemd").iterdir()]:
        for line in re.findall(r"(?m)^ExecStart=(.*)$", page.read_text()):
            words = line.split()
            found.append((f"{page.relative_to(TOP)}: {line}", [Path(words[0]).name, *words[1:]]))
    return found


def test_there_are_many() -> None:
    assert len(typed()) > 100
    assert {words[0] for _, words in typed()} >= {"vac", "fossil-mount", "grid", "venti", "hub"}


@pytest.mark.parametrize("place", sorted({place for place, _ in typed()}))
def test_bash_leaves_it_as_it_is(place: str) -> None:
    """An exclamation mark outside single quotes is history to a bash at a terminal."""
    line = place.partition(": ")[2].partition(" # ")[0]
    assert "!" not in re.sub(r"'[^']*'", "", line), place


def complaint(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return what a command's parser has against these words."""
    parser: Parser = importlib.import_module(SCRIPTS[words[0]].partition(":")[0]).parser()
    rest = [NUMBERS.get(word, word) for word in words[1:]]
    try:
        (parser.parse_intermixed_args if parser.mixed else parser.parse_args)(rest)
    except SystemExit as end:
        return capsys.readouterr().err if end.code else ""
    except UsageError:
        return ""  # the type of an argument has met a word that stands for a value
    return ""


@pytest.mark.parametrize(("place", "words"), [*typed(), *services()], ids=str)
def test_it_is_understood(place: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert not complaint(words, capsys), place


@pytest.mark.parametrize(("place", "words"), mentioned(), ids=str)
def test_what_is_mentioned_exists(
    place: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = complaint(words, capsys)
    assert not said or "arguments are required" in said or "expected one argument" in said, place
