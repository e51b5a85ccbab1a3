"""`venti check SCORE…`: whether everything below some roots is here and good."""

import argparse
import sys

from lib9.cli import print_json
from lib9.errors import Exit, UsageError
from lib9.sizes import format_count, format_size
from venti_store.cli.address import store_address, with_store
from venti_store.errors import CorruptBlock, NoSuchBlock
from venti_store.hashtree.walk import Walk, history, root_refs
from venti_store.interfaces import BlockStore, Key
from venti_store.stores.messages import kind_name


def check_trees(args: argparse.Namespace) -> int:
    """Walk the trees, print each block that is not here or bad, and return the exit status."""
    if args.rebuild or args.repair or args.rate:
        raise UsageError(
            "check: --rebuild, --repair and --rate are for whole stores; "
            "`venti copy --full FROM STORE SCORE` mends trees"
        )
    holes: list[Key] = []

    def missing(key: Key, error: NoSuchBlock | CorruptBlock) -> None:
        holes.append(key)
        why = str(error)
        if args.json:
            print_json({"type": kind_name(key.kind), "score": key.score.hex(), "why": why})
        else:
            sys.stdout.write(f"{why}\n")

    async def walk(store: BlockStore) -> tuple[int, int]:
        scores = [store.family.parse(text) for text in args.scores]
        if args.history:
            scores = [s for score in scores for s in await history(store, score, missing)]
        blocks = size = 0
        async for batch in Walk(store, root_refs(store, scores), missing=missing, above_holes=True):
            blocks += len(batch)
            size += sum(len(block.data) for block in batch)
        return blocks, size

    blocks, size = with_store(store_address(args), walk)
    told = f"{len(holes)} missing" if holes else "whole"
    sys.stderr.write(f"venti: {format_count(blocks, 'block')}, {format_size(size)}, {told}\n")
    return Exit.DAMAGED if holes else Exit.OK
