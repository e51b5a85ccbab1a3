"""Bash completion from the parsers: subcommands, options, choices; file names for everything else."""

import sys
from pathlib import Path
from shlex import quote

from .commands import Command, commands


def completion(command: Command) -> str:
    """Return the completion script of a command."""
    name = "_" + command.name.replace("-", "_")
    levels = command.walk()
    deeper = [sub for level in levels for sub in level.subcommands]
    return "\n".join(
        [
            f"# bash completion for {command.name}",
            f"{name}() {{",
            "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}",
            '    local at="" word words="" flags=""',
            '    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
            "        :",
            *_case('"$at $word"', [(_path(sub), 'at="$at $word"') for sub in deeper], 8),
            "    done",
            *_case('"$at"', [(_path(level), _words(level)) for level in levels], 4),
            "    [[ $cur != -* ]] || words=$flags",
            *_case('"$at $prev"', list(_choices(levels)), 4),
            '    COMPREPLY=($(compgen -W "$words" -- "$cur"))',
            "}",
            f"complete -o default -F {name} {command.name}",
            "",
        ]
    )


def _path(level: Command) -> str:
    return "".join(f" {word}" for word in level.words[1:])


def _words(level: Command) -> str:
    subcommands = [sub.words[-1] for sub in level.subcommands]
    choices = [choice for a in level.arguments if not a.flags for choice in a.choices]
    flags = [flag for a in level.arguments for flag in a.flags]
    return f"words={quote(' '.join([*subcommands, *choices]))} flags={quote(' '.join(flags))}"


def _choices(levels: list[Command]) -> list[tuple[str, str]]:
    """After an option with a value its choices are offered, or, if it has none, file names."""
    return [
        (f"{_path(level)} {flag}", f"words={quote(' '.join(argument.choices))}")
        for level in levels
        for argument in level.arguments
        if argument.value
        for flag in argument.flags
    ]


def _case(subject: str, arms: list[tuple[str, str]], indent: int) -> list[str]:
    if not arms:
        return []
    pad = " " * indent
    lines = [f"{pad}    {quote(pattern)}) {action} ;;" for pattern, action in arms]
    return [f"{pad}case {subject} in", *lines, f"{pad}esac"]


def main() -> None:
    """Write the scripts of all commands into the folder named by the first argument."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for command in commands():
        (folder / command.name).write_text(completion(command))


if __name__ == "__main__":
    main()
