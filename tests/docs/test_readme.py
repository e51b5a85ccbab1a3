"""What the README says is true: its links, its make targets, its table of commands."""

import re
from pathlib import Path

import pytest

from docs._ext.commands import commands

TOP = Path(__file__).parents[2]
README = (TOP / "README.md").read_text()
LINKS = re.findall(r"!?\[[^\]]*\]\(([^)\s]+)\)", README)


def anchors(page: Path) -> set[str]:
    """Return the anchors that a git host gives to the headings of a page."""
    titles = re.findall(r"(?m)^#+ (.*)$", page.read_text())
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("link", LINKS)
def test_links_lead_somewhere(link: str) -> None:
    if link.startswith("https://"):
        return
    name, _, anchor = link.partition("#")
    page = TOP / name if name else TOP / "README.md"
    assert page.exists(), link
    assert not anchor or anchor in anchors(page), link


def test_there_are_links() -> None:
    assert any(link.endswith(".svg") for link in LINKS)
    assert any(link.startswith("docs/") for link in LINKS)


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (TOP / "Makefile").read_text()))
    code = re.findall(r"(?ms)^```sh$.*?^```$", README) + re.findall(r"`([^`\n]+)`", README)
    named = set(re.findall(r"(?:^|; )make ([a-z-]+)\b", "\n".join(code), re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def test_every_command_is_in_the_table() -> None:
    rows = re.findall(r"(?m)^\| (`.*?`) \|", README)
    named = {name.split()[0] for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert {command.name for command in commands()} <= named
