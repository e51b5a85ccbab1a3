"""Every command, option, exit status and error is documented, from the code itself."""

import re
import subprocess
from pathlib import Path

import pytest

from docs._ext.commands import Command, _describe, commands
from docs._ext.completion import completion
from docs._ext.errors import error_classes, errors_page, meaning
from docs._ext.pages import command_page, escape, prose
from lib9.cli import EXIT_STATUS, Parser
from lib9.errors import Exit, SpawngridError

TOP = Path(__file__).parents[2]
LEVELS = [level for command in commands() for level in command.walk()]
by_name = pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)


@by_name
def test_everything_of_a_command_is_explained(level: Command) -> None:
    assert level.description, f"{level.name} has no description"
    for argument in level.arguments:
        assert argument.help, f"{level.name}: {argument.flags or argument.value} has no help"


@by_name
def test_everything_of_a_command_is_on_its_page(level: Command) -> None:
    [command] = [command for command in commands() if command.name == level.words[0]]
    page = command_page(command)
    assert level.name in page
    for argument in level.arguments:
        assert prose(argument.help) in page
        assert all(flag in page for flag in argument.flags)


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.name)
def test_every_command_has_the_house_options(command: Command) -> None:
    flags = {flag for argument in command.arguments for flag in argument.flags}
    assert {"-h", "--help", "-v", "--debug"} <= flags


def test_every_exit_status_is_documented() -> None:
    page = (TOP / "docs/reference/exit-status.md").read_text()
    for status in Exit:
        assert f"| {int(status)} | {status.name} | " in page
        assert re.search(rf"(?m)\b{int(status)} [a-z]", EXIT_STATUS), status


@pytest.mark.parametrize("error", sorted(error_classes(), key=str), ids=lambda e: e.__name__)
def test_every_error_is_documented(error: type[SpawngridError]) -> None:
    assert meaning(error), f"{error.__name__} has no docstring of its own"
    assert f"| `{error.__name__}` | {int(error.exit_code)} | {meaning(error)} |" in errors_page()


SAMPLE = """
first paragraph with *stars*,
   going on

  $ indented code <as it is>
"""


def sample() -> Command:
    parser = Parser("sample", description=SAMPLE).house_options()
    below = parser.add_subparsers(dest="what")
    init = below.add_parser("init", help="make one", aliases=["new"])
    init.add_argument(
        "--hash", choices=["blake3", "sha1"], help="which hash, %(default)s if not given"
    )
    init.add_argument("dir", metavar="DIR", help="where")
    below.add_parser("read", help="read one").add_argument("--size", metavar="N", help="how much")
    return _describe(("sample",), parser)


def test_the_walk_sees_subcommands_once_and_their_help() -> None:
    command = sample()
    assert [level.name for level in command.walk()] == ["sample", "sample init", "sample read"]
    init = command.subcommands[0]
    assert init.description == "make one"
    assert init.usage.startswith("sample init [-h] [--hash {blake3,sha1}] DIR")
    [hash_option] = [a for a in init.arguments if "--hash" in a.flags]
    assert hash_option.help == "which hash, None if not given"
    assert "```text\n  $ indented code <as it is>\n```" in command_page(command)
    assert r"with \*stars\*" in command_page(command)
    assert escape("$a_b") == r"\$a\_b"


def complete(command: Command, *words: str) -> set[str]:
    """Return what bash offers when the last of `words` is being typed."""
    script = (
        f"{completion(command)}\n"
        'COMP_WORDS=("$0" "$@") COMP_CWORD=$#\n'
        f"_{command.name.replace('-', '_')}\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-uc", script, command.name, *words], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_bash_completes_subcommands_options_and_choices() -> None:
    command = sample()
    assert complete(command, "") == {"init", "read"}
    assert complete(command, "i") == {"init"}
    assert complete(command, "-") == {"-h", "--help", "--version", "-v", "--verbose", "--debug"}
    assert complete(command, "init", "--h") == {"--help", "--hash"}
    assert complete(command, "-v", "init", "--hash", "") == {"blake3", "sha1"}
    assert complete(command, "read", "--size", "") == set()
    assert complete(command, "read", "-") == {"-h", "--help", "--size"}


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.name)
def test_bash_completes_every_command(command: Command) -> None:
    flags = {flag for argument in command.arguments for flag in argument.flags}
    assert complete(command, "-") == flags
