"""The frame of the benches: fair turns, medians, targets in both directions, figures that are kept."""

import json
from pathlib import Path

import pytest

from tests.bench import __main__ as bench
from tests.bench.context import Context
from tests.bench.rows import Row, table


def test_contestants_take_turns_at_being_first() -> None:
    order: list[str] = []
    ctx = Context(runs=4)
    values = ctx.race(
        {"a": lambda: order.append("a"), "b": lambda: 7.0},
        prepare=lambda name: order.append(f"prepare {name}"),
    )
    assert order[:6] == ["prepare a", "a", "prepare b", "prepare b", "prepare a", "a"]
    assert values["b"] == [7.0] * 4
    assert all(0 <= value < 1 for value in values["a"])


@pytest.mark.parametrize(
    ("better", "target_is", "target", "met"),
    [
        ("lower", "ours", 2.0, True),
        ("lower", "ours", 1.9, False),
        ("higher", "ours", 2.0, True),
        ("higher", "ours", 2.1, False),
        ("lower", "ratio", 0.5, True),
        ("lower", "ratio", 0.4, False),
        ("higher", "ratio", 0.5, True),
        ("higher", "ratio", 0.6, False),
        ("lower", "ours", None, None),
    ],
)
def test_targets(better, target_is, target, met) -> None:
    row = Row("n", "s", [9, 2, 1], [4], "p", better, target, target_is)
    assert (row.value, row.ratio, row.met) == (2, 0.5, met)


def test_a_missing_peer_is_said_and_judges_nothing() -> None:
    row = Row("n", "s", [1.0], peer="restic: not installed", target=1, target_is="ratio")
    assert row.met is None
    assert "restic: not installed" in table([row])
    assert Context().peer("no-such-program") is None


def test_a_program_tells_its_version() -> None:
    assert (Context().peer("git") or "").startswith("git 2")


@pytest.mark.parametrize("name", ["tree", "store"])
def test_a_bench_runs_and_its_figures_are_kept(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "out" / "results.jsonl"
    words = [name, "--quick", "-n", "1", "--scratch", str(tmp_path), "--results", str(results)]
    assert bench.main(words) == 0
    kept = [json.loads(line) for line in results.read_text().splitlines()]
    assert all(row["bench"] == name and row["median"] > 0 and row["quick"] for row in kept)
    shown = capsys.readouterr().out
    assert all(row["name"] in shown for row in kept)
    assert not list(tmp_path.glob("bench-*"))


def test_an_unknown_bench_is_refused() -> None:
    assert bench.main(["nonsense"]) == 2
