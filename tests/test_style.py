"""The style guide as far as a program can hold it; ruff, mypy and import-linter hold the rest."""

import ast
import re
import subprocess
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())
PACKAGES = [p.rstrip("*") for p in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]]
MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    names = done.stdout.decode().split("\0")
    return [TOP / name for name in names if name and (TOP / name).is_file()]


def texts() -> dict[str, str]:
    """Return what people wrote, by path: recorded data are not theirs."""
    data = TOP / "tests/data"
    files = [path for path in tracked() if data not in path.parents]
    return {str(path.relative_to(TOP)): path.read_text() for path in files}


def modules() -> dict[str, str]:
    return {name: text for name, text in texts().items() if name.endswith(".py")}


def test_no_module_is_long() -> None:
    lengths = {name: len(text.splitlines()) for name, text in modules().items()}
    assert {n: length for n, length in lengths.items() if length > MODULE_LINES_MAX} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{name}:{node.lineno} {node.name}"
        for name, text in modules().items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_every_module_says_its_idea() -> None:
    """A module of a package begins with a docstring; an empty one has nothing to say."""
    silent = [
        name
        for name, text in modules().items()
        if name.split("/")[0] in PACKAGES
        and text.strip()
        and not ast.get_docstring(ast.parse(text))
    ]
    assert silent == []


BANNED = {
    r"/work" + "/": "a path of one workplace",
    r"\bissues? ?#?[0-9]": "text must be understood without a tracker",
    r"\b(TO"
    r"DO|FIX"
    r"ME|XX"
    "X)\\b": "do it, or describe what is missing where users look",
    r"<<<" + "<<<<|>>>" + ">>>>": "a conflict that was not resolved",
}


@pytest.mark.parametrize(("pattern", "why"), BANNED.items(), ids=list(BANNED.values()))
def test_nothing_banned_is_said(pattern: str, why: str) -> None:
    found = [
        f"{name}:{number}: {why}"
        for name, text in texts().items()
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert found == []


SEVERAL = re.compile(r" (?:[a-z]+ )?([a-z]+s)\b")
NO_PLURAL = {"attributes", "is", "ms", "serves", "us"}


def test_what_commands_count_is_counted_in_one_place() -> None:
    """No command says `1 names`: a number and its noun come from `lib9.sizes.format_count`."""
    found = []
    for name, text in modules().items():
        if "/cli/" not in name and not name.startswith(("fossil_fs/mounting/", "hubfs/shell/")):
            continue
        for node in ast.walk(ast.parse(text)):
            parts = node.values if isinstance(node, ast.JoinedStr) else []
            for value, after in pairwise(parts):
                if isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant):
                    noun = SEVERAL.match(str(after.value))
                    constant = ast.unparse(value.value).isupper()
                    if noun and noun[1] not in NO_PLURAL and not constant:
                        found.append(f"{name}:{value.lineno}: {noun[0]}")
    assert found == []


def test_pages_that_are_mentioned_exist() -> None:
    known = {Path(name).name for name in texts()} | {"errors.md", "wire.md"}
    missing = {
        f"{name} mentions {page}"
        for name, text in texts().items()
        if not name.startswith("tests/")
        for page in re.findall(r"\b([A-Za-z][\w-]*\.md)\b", text)
        if page not in known
    }
    assert missing == set()


def contracts() -> dict[str, dict[str, object]]:
    """Return the layers contracts of floors/ by package, those that take in every module."""
    found = {}
    for file in (TOP / "floors").glob("*.toml"):
        for contract in tomllib.loads(file.read_text())["tool"]["importlinter"]["contracts"]:
            for container in contract.get("containers", []):
                if contract["type"] == "layers" and contract.get("exhaustive"):
                    found[container] = contract
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_has_a_floor(package: str) -> None:
    own = [path for path in (TOP / package).rglob("*.py") if path.name != "__init__.py"]
    if own:
        assert package in contracts(), f"floors/{package}.toml lacks an exhaustive layers contract"
