"""`check`: all invariants of a mount, while changes wait."""

from typing import Final

from fossil_fs.mounting.errors import Found, NotServed
from fossil_fs.mounting.mounted import Mounted
from fossil_fs.mounting.word import Answer, Word
from fossil_fs.overlay.check import Check
from lib9.errors import UsageError
from lib9.sizes import format_count

FINDINGS_MAX: Final = 100  # lines that are shown; the others are counted


async def _check(mounted: Mounted, said: list[str]) -> Answer:
    if said not in ([], ["--blocks"]):
        raise UsageError("check: takes --blocks and nothing else")
    if mounted.served is None:
        raise NotServed("check: the mount is not served")
    gate = mounted.served.gate
    was_halted = gate.closed
    async with mounted.saving:
        await gate.close()
        try:
            return await report(Check(mounted.filesystem.overlay, blocks=bool(said)))
        finally:
            if not was_halted:
                gate.open()


async def report(check: Check) -> Answer:
    """Run a check; Found if anything is wrong."""
    lines: list[str] = []
    count = 0
    async for line in check.run():
        count += 1
        if count <= FINDINGS_MAX:
            lines.append(line)
    seen = f"{format_count(check.inodes, 'inode')}, {format_count(check.names, 'name')}"
    seen += f", {format_count(check.layers, 'layer')} changed"
    if check.blocks:
        seen += f", {format_count(check.blocks, 'block')} of the base"
    if count:
        raise Found(f"check: {count} wrong; {seen}", lines)
    return Answer([f"{seen}: all agree"])


WORDS = (Word("check", "[--blocks]", "whether all agrees; --blocks: every block, too", _check),)
