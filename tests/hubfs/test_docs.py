"""The reference page says what the code's tables say."""

from dataclasses import fields
from pathlib import Path

import pytest

from hubfs import ctl, hub, namespace, operations, options
from hubfs.net import dialing, link, sessions, wire
from tests.hubfs.test_ctl import names

PAGE = (Path(__file__).parents[2] / "docs/reference/hubs.md").read_text()


def wire_rows() -> list[str]:
    rows = []
    for kind, layout in sorted(wire.TABLE.layouts.items(), key=lambda item: item[1].code):
        parts = (
            f"{field.name} {how.text}"
            for field, how in zip(fields(kind), layout.fields, strict=True)
        )
        rows.append(f"| {layout.code} | {kind.__name__} | {', '.join(parts)} |")
    return rows


def command_rows() -> list[str]:
    return [f"| `{usage}` | {meaning} |" for usage, meaning in ctl.COMMANDS]


def test_tables() -> None:
    assert "\n".join(command_rows()) in PAGE
    assert "\n".join(wire_rows()) in PAGE


def test_limits() -> None:
    for number in (
        hub.CAPACITY_DEFAULT,
        hub.MESSAGE_SIZE_MAX_DEFAULT,
        hub.MESSAGE_SIZE_MAX,
        hub.MESSAGES_MAX,
        namespace.HUBS_MAX,
        namespace.GROUPS_MAX,
        operations.HANDLES_MAX,
        options.READERS_MAX,
        dialing.CONNECTIONS_MAX,
        sessions.SESSIONS_MAX,
        hub.FEAR_LAG_MAX,
    ):
        assert f"{number}" in PAGE
    assert f"{sessions.SESSION_SECONDS:.0f} seconds" in PAGE
    assert f"{link.DEADLINE_SECONDS:.0f} s; reads wait on" in PAGE


@pytest.mark.parametrize("usage", [usage for usage, _ in ctl.COMMANDS])
def test_every_command_of_the_table_is_one(usage: str) -> None:
    words = usage.replace("[", "").replace("]", "")
    values = {"HUB": "a", "RATE": "64k", "GAP": "5ms", "RESET": "60s"}
    for name, value in values.items():
        words = words.replace(name, value)
    ctl.run_command(names("a"), words.encode())
    if "[HUB]" in usage:
        ctl.run_command(names("a"), usage.split(maxsplit=1)[0].encode())
