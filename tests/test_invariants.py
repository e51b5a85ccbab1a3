"""Every invariant of docs/explanation/invariants.md names tests that attack it, and they are there."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGE = (HERE.parent / "docs/explanation/invariants.md").read_text()
INVARIANTS = re.split(r"(?m)^(?=\d+\. \*\*)", PAGE)[1:]


@pytest.mark.parametrize("text", INVARIANTS, ids=lambda text: text[:30])
def test_every_invariant_is_attacked(text: str) -> None:
    tests = re.findall(r"`([\w/]+\.py)::(\w+)`", text)
    assert tests
    for path, name in tests:
        assert re.search(rf"^(async )?def {name}\(", (HERE / path).read_text(), re.MULTILINE), name


def test_all_of_them_are_seen() -> None:
    assert [int(text.partition(".")[0]) for text in INVARIANTS] == list(range(1, 10))
