"""`venti stat`: what a store holds, without reading it."""

import argparse
import sys
from dataclasses import asdict

from lib9.cli import Parser, print_json
from lib9.sizes import format_count, format_size
from lib9.waiting import run_now
from venti_store.cli.address import Subcommands, add_store_option, local_store
from venti_store.stores.lmdb.statistics import Statistics
from venti_store.stores.messages import kind_name


def add(commands: Subcommands) -> Parser:
    p = commands.add_parser(
        "stat",
        help="show what a store holds",
        description="Show what a store holds: blocks and bytes by type, what was put again, disk space.",
    )
    add_store_option(p)
    p.add_argument("--json", action="store_true", help="one JSON object, sizes in bytes")
    return p


def main(args: argparse.Namespace) -> None:
    store = local_store(args)
    try:
        found = store.statistics()
    finally:
        run_now(store.aclose())
    if args.json:
        print_json(_json(store.path, found))
    else:
        sys.stdout.write("".join(f"{line}\n" for line in _lines(store.path, found)))


def _json(path: str, s: Statistics) -> dict[str, object]:
    kinds = {
        kind_name(kind): asdict(counts)
        for kind, counts in s.counts.items()
        if counts.blocks or counts.again
    }
    return {
        "path": path,
        "id": s.store_id,
        "hash": s.hash_name,
        "last_number": s.last_number,
        **asdict(s.total()),
        "types": kinds,
        "file_size": s.file_size,
        "disk_free": s.disk_free,
        "oldest_reader": {"pid": s.oldest_reader_pid, "behind": s.oldest_reader_behind},
    }


def _lines(path: str, s: Statistics) -> list[str]:
    total = s.total()
    offered = total.size + total.again_size
    lines = [
        f"store     {path}",
        f"id        {s.store_id}",
        f"hash      {s.hash_name}",
        f"blocks    {total.blocks}",
        f"bytes     {format_size(total.size)}",
        f"stored    {format_size(total.stored)} ({_percent(total.stored, total.size)})",
        f"put again {format_size(total.again_size)} ({_percent(total.again_size, offered)} of all puts)",
        f"on disk   {format_size(s.file_size)}, {format_size(s.disk_free)} free",
    ]
    if s.oldest_reader_pid:
        lines.append(
            f"reader    process {s.oldest_reader_pid},"
            f" {format_count(s.oldest_reader_behind, 'commit')} behind"
        )
    for kind, counts in s.counts.items():
        if counts.blocks:
            lines.append(
                f"  {kind_name(kind):9} {counts.blocks:9} {format_size(counts.size):>10} "
                f"{format_size(counts.stored):>10}"
            )
    return lines


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f}%" if whole else "-"
