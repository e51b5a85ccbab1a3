"""The page of all errors, from their classes: what each means, and the exit status it ends with."""

import importlib
import pkgutil
import tomllib

from lib9.errors import SpawngridError

from .commands import PROJECT


def errors_page() -> str:
    """Return the page; a class without a docstring stands there without a meaning."""
    rows = [
        f"| `{error.__name__}` | {int(error.exit_code)} | {meaning(error)} |"
        for error in sorted(error_classes(), key=lambda e: (int(e.exit_code), e.__name__))
    ]
    head = [
        "# Errors",
        "",
        "Every error that ends a command is one line `PROGRAM: WHAT: WHY` on standard error and an",
        "{doc}`exit status </reference/exit-status>`. In Python they are classes below",
        "`lib9.errors.SpawngridError`.",
        "",
        "| class | exit status | means |",
        "|---|---|---|",
    ]
    return "\n".join([*head, *rows]) + "\n"


def meaning(error: type[SpawngridError]) -> str:
    """Return the first paragraph of the class's own docstring on one line."""
    text = error.__dict__.get("__doc__") or ""
    return " ".join(text.split("\n\n")[0].split()).replace("|", "\\|")


def error_classes() -> set[type[SpawngridError]]:
    """Return every error class of every package."""
    for package in packages():
        for module in pkgutil.walk_packages(
            importlib.import_module(package).__path__, package + "."
        ):
            importlib.import_module(module.name)
    found: set[type[SpawngridError]] = set()
    waiting = [SpawngridError]
    while waiting:
        error = waiting.pop()
        if error.__module__.split(".")[0] in packages():
            found.add(error)
        waiting += error.__subclasses__()
    return found


def packages() -> list[str]:
    """Return the names of our packages."""
    project = tomllib.loads(PROJECT.read_text())
    patterns: list[str] = project["tool"]["setuptools"]["packages"]["find"]["include"]
    return [pattern.rstrip("*") for pattern in patterns]
