"""What the pages tell people to type: fenced blocks, the commands in them, and what they show."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).parents[2]
PAGES = sorted(
    page
    for page in [TOP / "README.md", *(TOP / "docs").rglob("*.md")]
    if not {"_build", "decisions", "commands"} & set(page.parts)  # the last are made from parsers
)
_FENCE = re.compile(r"(?ms)^( *)```(\w+)\n(.*?)^\1```$")
_PROMPT = re.compile(r"[\w@:/~]*[$#] ")
TYPED = ("sh", "console", "text")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: `language` is sh (all is typed) or console (what follows a prompt is)."""

    language: str
    lines: tuple[str, ...]

    def commands(self) -> list["Command"]:
        """Return what is typed, a line each, with the lines that it is said to show."""
        found: list[Command] = []
        for line in self.lines:
            if self.language == "sh":
                if line.strip():
                    found.append(Command(line, ()))
            elif prompt := _PROMPT.match(line):
                found.append(Command(line[prompt.end() :], ()))
            elif found:
                found[-1] = Command(found[-1].line, (*found[-1].shows, line))
        return found


@dataclass(frozen=True, slots=True)
class Command:
    """A line to type, and what the page shows after it."""

    line: str
    shows: tuple[str, ...]


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page that are typed."""
    return [
        Block(language, tuple(line.removeprefix(indent) for line in body.splitlines()))
        for indent, language, body in _FENCE.findall(page.read_text())
        if language in TYPED
    ]


def simple_commands(line: str) -> list[list[str]]:
    """Return the commands of a shell line as words: what pipes, lists and `$(…)` join, apart."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.wordchars += "$%!^@,:{}[]…’"
    found: list[list[str]] = [[]]
    words = iter(lexer)
    for word in words:
        if word in (">", ">>", "<", "2>", ">|"):
            next(words, None)
        elif set(word) <= set("();<>|&") or word in ("$", "do", "then", "else", "!"):
            found.append([])
        elif found[-1] or not re.fullmatch(r"\w+=.*", word):  # NAME=VALUE goes before
            found[-1].append(word)
        elif word.endswith("=$"):
            found.append([])
    return [words for words in found if words]
