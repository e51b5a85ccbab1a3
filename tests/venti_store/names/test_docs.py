"""The page of the format says what the code's tables say."""

from pathlib import Path

from venti_store.names.record import FIELDS, RECORD_BYTES_MAX, Action
from venti_store.names.words import NAME_BYTES_MAX, NONCE_DIGITS, USER_BYTES_MAX

PAGE = (Path(__file__).parents[3] / "docs/reference/formats/names.md").read_text()


def test_fields_and_actions() -> None:
    for action in Action:
        assert f"| `{action}=` | " in PAGE
    rows = []
    for field in FIELDS:
        which = ", ".join(a for a in Action if a in field.actions)
        which = "all" if len(field.actions) == len(Action) else which
        which += ", if any" if field.optional else ""
        rows.append(f"| `{field.attr}` | {which} | {field.meaning} |")
    assert "\n".join(rows) in PAGE


def test_limits() -> None:
    words = " ".join(PAGE.split())
    assert f"up to {RECORD_BYTES_MAX} bytes" in words
    assert f"first {NONCE_DIGITS} hex digits" in words
    assert f"{NAME_BYTES_MAX} bytes at most" in words
    assert f"up to {USER_BYTES_MAX} letters" in words
