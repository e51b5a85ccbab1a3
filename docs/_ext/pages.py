"""A Markdown page for a command, from which Sphinx makes HTML and the man page."""

import re
from pathlib import Path

from lib9.cli import EXIT_STATUS

from .commands import Argument, Command, siblings

NOTES = Path(__file__).parents[1] / "reference" / "notes"
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|$~])")


def command_page(command: Command) -> str:
    """Return the page of a command and its subcommands, with the notes written by hand, if any."""
    parts = [f"# {command.name}", "## Synopsis", *_body(command, level=2)]
    for sub in command.walk()[1:]:
        parts += [f"## {sub.name}", *_body(sub, level=3)]
    notes = NOTES / f"{command.name}.md"
    if notes.exists():
        parts.append(notes.read_text().strip())
    parts += [
        "## Exit status",
        "The same for all commands:",
        _fenced("text", EXIT_STATUS.partition("\n")[2]),
        _fenced("{only}", "More on each: {doc}`/reference/exit-status`.", "html"),
        "## See also",
        ", ".join(f"{{manpage}}`{name}(1)`" for name in siblings(command.name)),
    ]
    return "\n\n".join(parts) + "\n"


def _body(command: Command, *, level: int) -> list[str]:
    parts = [_fenced("text", command.usage)]
    if level == 2:
        parts.append("## Description")
    parts.append(prose(command.description))
    if command.subcommands:
        if level == 2:
            parts.append("## Commands")
        parts += [f"- **{sub.words[-1]}**: {escape(sub.summary)}" for sub in command.subcommands]
    parts.append(_fenced("{program}", "", command.name))
    for title, wanted in (("Arguments", False), ("Options", True)):
        arguments = [a for a in command.arguments if bool(a.flags) is wanted]
        if arguments:
            parts += [f"{'#' * level} {title}", *map(_argument, arguments)]
    return [part for part in parts if part]


def _argument(argument: Argument) -> str:
    value = f" {argument.value}" if argument.value else ""
    names = ", ".join(flag + value for flag in argument.flags) or argument.value
    return _fenced("{option}", prose(argument.help), names)


def _fenced(kind: str, text: str, argument: str = "") -> str:
    return f"````{kind} {argument}".rstrip() + f"\n{text}\n````"


def prose(text: str) -> str:
    """Return the text of a parser as Markdown: its words as they are, indented lines as code."""
    parts = []
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        if paragraph.startswith("  "):
            parts.append(f"```text\n{paragraph}\n```")
        else:
            parts.append(escape(paragraph))
    return "\n\n".join(parts)


def escape(text: str) -> str:
    """Return text with everything escaped that Markdown would take for a sign."""
    return _SPECIAL.sub(r"\\\1", text)
