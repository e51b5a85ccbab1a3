"""`python -m tests.bench [NAMES]`: run the benches, print one table, keep the figures.

A bench is a module tests/bench/bench_NAME.py with `run(ctx) -> Iterable[Row]`. One that fails says so
and does not stop the others.
"""

import argparse
import datetime as dt
import importlib
import json
import os
import platform
import subprocess
import sys
import traceback
from pathlib import Path

from tests.bench.context import Context
from tests.bench.rows import Row, table

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "bench-results" / "results.jsonl"


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser("python -m tests.bench", description=__doc__)
    p.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(benches())}")
    p.add_argument("-n", "--runs", type=int, default=5, help="runs of each, the median counts (5)")
    p.add_argument("--quick", action="store_true", help="small sizes: does it run at all?")
    p.add_argument("--scratch", metavar="DIR", help="where to work (default: the temporary files)")
    p.add_argument("--results", type=Path, default=RESULTS, help="JSON lines are added here")
    return p


def benches() -> list[str]:
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    unknown = set(args.names) - set(benches())
    if unknown:
        sys.stderr.write(f"no such bench: {', '.join(sorted(unknown))}\n")
        return 2
    context = Context(runs=args.runs, quick=args.quick, scratch=args.scratch)
    conditions = about(quick=args.quick)
    rows: list[Row] = []
    failed: list[str] = []
    for name in args.names or benches():
        context.say(f"{name}:")
        try:
            for row in importlib.import_module(f"tests.bench.bench_{name}").run(context):
                rows.append(row)
                keep(args.results, conditions | {"bench": name} | row.as_json())
        except Exception:
            traceback.print_exc()
            failed.append(name)
    print(" · ".join(f"{key} {value}" for key, value in conditions.items()), end="\n\n")
    print(table(rows))
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    return 1 if failed else 0


def about(*, quick: bool) -> dict[str, object]:
    """Return the conditions under which all of it is measured."""
    git = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--abbrev=12"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "load": round(os.getloadavg()[0], 2),
        "quick": quick,
    }


def keep(path: Path, result: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
