"""Random I/O by several processes, with saves and dropped caches under way and remounts between."""

import os
import random
from pathlib import Path

import pytest

from tests.fossil_fs.posix import random_io
from tests.fossil_fs.posix.pair import Pair

pytestmark = [pytest.mark.fuse, pytest.mark.root]

PROCESSES = 3


def exercise(pair: Pair, seed: int, rounds: int, steps: int) -> None:
    dice = random.Random(seed)
    tops = [Path(os.fsdecode(top)) for top in pair.tops]
    for number in range(PROCESSES):
        for top in tops:
            (top / f"{number}").mkdir()
    for turn in range(rounds):
        running = {
            random_io.start(
                tops[0] / f"{number}", tops[1] / f"{number}", f"{seed}.{turn}.{number}", steps
            )
            for number in range(PROCESSES)
        }
        failed = 0
        while running:
            for child in list(running):
                done, status = os.waitpid(child, os.WNOHANG)
                if done:
                    running.remove(child)
                    failed += status != 0
            getattr(pair, dice.choice(["save", "drop_caches"]))()
        assert failed == 0, f"seed {seed}, turn {turn}"
        pair.fresh = False
        pair.compare_contents()
        getattr(pair, dice.choice(["save_twice", "drop_caches", "resume", "remount", "kill"]))()
        pair.compare_contents()


def test_quick(pair: Pair) -> None:
    exercise(pair, random.randrange(1 << 32), rounds=3, steps=100)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_long(pair: Pair) -> None:
    exercise(pair, random.randrange(1 << 32), rounds=40, steps=600)
