"""The commands as their parsers describe them: walk [project.scripts], then each parser's actions."""

import argparse
import importlib
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


@dataclass(frozen=True, slots=True)
class Argument:
    """A positional argument or an option; `flags` is empty for a positional."""

    flags: tuple[str, ...]
    value: str  # how its value is shown, empty if it takes none
    help: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """A command or subcommand: `words` is what one types, `venti init`."""

    words: tuple[str, ...]
    usage: str
    description: str
    arguments: tuple[Argument, ...]
    subcommands: tuple["Command", ...]

    @property
    def name(self) -> str:
        return " ".join(self.words)

    @property
    def summary(self) -> str:
        """The first sentence of the description."""
        first = self.description.split("\n\n")[0].replace("\n", " ")
        return first.split(". ")[0].rstrip(".:")

    def walk(self) -> list["Command"]:
        """Return this command and everything below it."""
        return [self, *(found for sub in self.subcommands for found in sub.walk())]


@cache
def commands() -> tuple[Command, ...]:
    """Return every command of this project by name."""
    scripts = tomllib.loads(PROJECT.read_text())["project"]["scripts"]
    return tuple(_describe((name,), _parser(target)) for name, target in sorted(scripts.items()))


def siblings(name: str) -> list[str]:
    """Return the commands of the same package, and those that make and serve stores."""
    scripts = tomllib.loads(PROJECT.read_text())["project"]["scripts"]
    package = scripts.get(name, "").partition(".")[0]
    near = [other for other, target in scripts.items() if target.startswith(f"{package}.")]
    return sorted({*near, "venti", "vac", "fossil-mount"} - {name})


def _parser(target: str) -> argparse.ArgumentParser:
    module, _, _ = target.partition(":")
    parser: argparse.ArgumentParser = importlib.import_module(module).parser()
    return parser


def _describe(
    words: tuple[str, ...], parser: argparse.ArgumentParser, summary: str = ""
) -> Command:
    formatter = argparse.HelpFormatter(prog=" ".join(words), width=79)
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups)
    usage = formatter.format_help().strip().removeprefix("usage: ")
    arguments: list[Argument] = []
    subcommands: list[Command] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            seen: set[int] = set()
            for name, sub in action.choices.items():
                if id(sub) not in seen:  # a name may have aliases
                    seen.add(id(sub))
                    subcommands.append(_describe((*words, name), sub, helps.get(name, "")))
        elif action.help is not argparse.SUPPRESS:
            arguments.append(_argument(formatter, action))
    description = (parser.description or summary).strip()
    return Command(words, usage, description, tuple(arguments), tuple(subcommands))


def _argument(formatter: argparse.HelpFormatter, action: argparse.Action) -> Argument:
    default = formatter._get_default_metavar_for_optional(action)
    if not action.option_strings:
        default = formatter._get_default_metavar_for_positional(action)
    value = "" if action.nargs == 0 else formatter._format_args(action, default)
    text = formatter._expand_help(action) if action.help else ""
    choices = tuple(map(str, action.choices or ()))
    return Argument(tuple(action.option_strings), value, text, choices)
