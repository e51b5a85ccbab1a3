"""Names: asking for one among 100,000, recording one more, and looking one up."""

import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from tests.bench.context import Context
from tests.bench.rows import Row
from tests.venti_store.names.kit import STO1, TIME, naming
from venti_store.names.page import SCORENAMES, Numbered, Page

BIN = Path(sysconfig.get_path("scripts"))


def run(ctx: Context) -> Iterable[Row]:
    count = ctx.size(100_000, 2000)
    page = Page.empty("# names\n").extended(
        [
            Numbered(n, naming(f"root{n % 1000}", user=f"user{n % 50}", time=TIME + n, seq=n))
            for n in range(1, count + 1)
        ]
    )
    with ctx.scratch() as folder:
        file = folder / SCORENAMES
        file.write_text(page.text)
        wanted = page.names("root77")[0].full
        yield asking(ctx, file, wanted, count)
        yield appending(ctx, page, count)


def asking(ctx: Context, file: Path, wanted: str, count: int) -> Row:
    ndbquery = [str(BIN / "ndbquery"), "-f", str(file), "scorename", wanted, "rootscore"]

    def spent(argv: list[str]) -> None:
        # into a pipe: grep stops at the first line when nobody reads what it prints
        assert subprocess.run(argv, capture_output=True, check=True).stdout

    times = ctx.race(
        {
            "ndbquery": lambda: spent(ndbquery),
            "grep": lambda: spent(["grep", f"scorename={wanted} ", str(file)]),
            "python": lambda: spent([sys.executable, "-c", "print()"]),
        },
        runs=3 * ctx.runs,
    )
    allowed = [2 * grep + start for grep, start in zip(times["grep"], times["python"], strict=True)]
    return Row(
        f"names: ndbquery, {count:,} records, cold process",
        "s",
        times["ndbquery"],
        allowed,
        peer="2 × grep + Python's start",
        target=1.0,
        target_is="ratio",
        cache="file cached",
    )


def appending(ctx: Context, page: Page, count: int) -> Row:
    fresh = naming("fresh", seq=count + 1)
    number = page.number + 1

    def add() -> None:
        assert page.last_seq(STO1.public) == count
        page.extended([Numbered(number, fresh)])

    return Row(
        f"names: a record more among {count:,}, without the disk",
        "µs",
        ctx.race({"extended": ctx.microseconds(add, 10)})["extended"],
    )
