"""`stats`: requests with their latencies, faults, caches, bytes; as lines, or as one JSON object."""

import json
import time
from typing import Any

from fossil_fs.mounting.mounted import Mounted
from fossil_fs.mounting.word import Answer, Word
from lib9.errors import UsageError
from lib9.latencies import Summary, summary
from lib9.sizes import format_count, format_size


def statistics(mounted: Mounted) -> dict[str, Any]:
    """Return everything that is counted, as the reference page says."""
    overlay, scratch, watched = mounted.filesystem.overlay, mounted.scratch, mounted.store.watched
    served = mounted.served
    requests = {} if served is None else served.latencies.summaries()
    cache = overlay.base.cache
    return {
        "engine": mounted.engine,
        "seconds": round(time.time() - mounted.started, 3),
        "requests": {kind: _times(found) for kind, found in requests.items()},
        "waiting": 0 if served is None else len(served.interrupts.waiting),
        "inodes": len(overlay.table),
        "faults": {**_times(summary(watched.read_counts)), "failed": overlay.base.faults_failed},
        "cache": {
            "pointer_hits": cache.hits,
            "pointer_misses": cache.misses,
            "block_hits": mounted.store.hits,
        },
        "venti": {
            "blocks_read": watched.blocks_read,
            "bytes_read": watched.bytes_read,
            "blocks_written": watched.blocks_written,
            "bytes_written": watched.bytes_written,
            "writes": _times(summary(watched.write_counts)),
            "failed": watched.failed,
            "trouble": mounted.store.trouble,
        },
        "scratch": {
            "changed_bytes": scratch.files.allocated + scratch.metadata.live(),
            "used_bytes": scratch.used(),
            "size_bytes": scratch.budget.size,
            "uncommitted": scratch.metadata.changes,
            "commits": scratch.metadata.generation,
        },
        "saves": overlay.saves,
    }


def _times(found: Summary) -> dict[str, Any]:
    return {
        "count": found.count,
        "median_us": round(found.median_seconds * 1e6, 1),
        "p99_us": round(found.p99_seconds * 1e6, 1),
    }


async def _stats(mounted: Mounted, said: list[str]) -> Answer:
    if said not in ([], ["--json"]):
        raise UsageError("stats: takes --json and nothing else")
    found = statistics(mounted)
    if said:
        return Answer(text=json.dumps(found, separators=(",", ":")))
    return Answer(_lines(found))


def _lines(found: dict[str, Any]) -> list[str]:
    head = f"{'request':14} {'count':>10} {'median':>10} {'p99':>10}"
    rows = [(kind, times) for kind, times in found["requests"].items()]
    rows += [("(fault)", found["faults"]), ("(store)", found["venti"]["writes"])]
    cache, venti, scratch = found["cache"], found["venti"], found["scratch"]
    inodes = format_count(found["inodes"], "inode")
    blocks_read = format_count(venti["blocks_read"], "block")
    pointers = cache["pointer_hits"] + cache["pointer_misses"]
    return [
        f"engine {found['engine']}, {found['seconds']:.0f} s, {inodes} known",
        head,
        *(
            f"{kind:14} {t['count']:10} {t['median_us']:7.1f} us {t['p99_us']:7.1f} us"
            for kind, t in rows
        ),
        (
            f"cache: {cache['pointer_hits']} of {format_count(pointers, 'pointer block')},"
            f" {format_count(cache['block_hits'], 'block')} of the node's cache"
        ),
        (
            f"venti: {blocks_read} and {format_size(venti['bytes_read'])} read,"
            f" {venti['blocks_written']} and {format_size(venti['bytes_written'])} written,"
            f" {venti['failed']} failed"
        ),
        (
            f"changed: {format_size(scratch['changed_bytes'])} in the scratch,"
            f" {format_size(scratch['used_bytes'])} of {format_size(scratch['size_bytes'])} used"
        ),
    ]


WORDS = (Word("stats", "[--json]", "requests, latencies, faults, caches, bytes", _stats),)
