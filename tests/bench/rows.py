"""What a bench reports, how it is judged against its target, and how it is shown. No clock here."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal


@dataclass(frozen=True)
class Row:
    """One figure of ours, beside a peer's where there is one. Several runs: the median counts.

    `target` bounds ours itself, or with `target_is="ratio"` ours divided by the peer's: from above
    where lower is better, else from below. `cache` says what was cached when it was measured,
    `flags` how both were called; `peer` names the peer with its version, or says why there is none.
    """

    name: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float] = ()
    peer: str = ""
    better: Literal["lower", "higher"] = "lower"
    target: float | None = None
    target_is: Literal["ours", "ratio"] = "ours"
    cache: str = "warm"
    flags: str = ""

    @property
    def value(self) -> float:
        return median(self.ours)

    @property
    def peer_value(self) -> float | None:
        return median(self.theirs) if self.theirs else None

    @property
    def ratio(self) -> float | None:
        peer = self.peer_value
        return self.value / peer if peer else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none, or no peer to compare with."""
        judged = self.ratio if self.target_is == "ratio" else self.value
        if self.target is None or judged is None:
            return None
        return judged <= self.target if self.better == "lower" else judged >= self.target

    def as_json(self) -> dict[str, Any]:
        row = asdict(self)
        row["ours"], row["theirs"] = list(self.ours), list(self.theirs)
        medians = {"median": self.value, "peer_median": self.peer_value}
        return row | medians | {"ratio": self.ratio, "met": self.met}


HEADINGS = ("name", "ours", "peer", "ratio", "target", "met?", "runs", "measured")


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as the table shows it."""
    peer = row.peer
    if row.peer_value is not None:
        peer = f"{number(row.peer_value)} {row.unit} ({row.peer})"
    spread = f"{number(row.value)} {row.unit}"
    if len(row.ours) > 1:
        spread += f" [{number(min(row.ours))}–{number(max(row.ours))}]"
    target = ""
    if row.target is not None:
        sign = "≤" if row.better == "lower" else "≥"
        target = f"{sign} {number(row.target)}" + (
            "×" if row.target_is == "ratio" else f" {row.unit}"
        )
    return (
        row.name,
        spread,
        peer or "-",
        f"{row.ratio:.2f}×" if row.ratio is not None else "-",
        target or "-",
        {True: "yes", False: "NO", None: "-"}[row.met],
        str(len(row.ours)),
        "; ".join(filter(None, (row.cache, row.flags))),
    )


def table(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table whose columns line up."""
    lines = [HEADINGS, *map(cells, rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(HEADINGS))]
    shown = [" | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines]
    shown.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in shown)


def number(value: float) -> str:
    """Return a number with three digits that matter."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
