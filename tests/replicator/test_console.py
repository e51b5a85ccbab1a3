"""The daemon's socket answers whoever asks, whatever they ask, and goes on."""

import json

import pytest
import trio
import trio.testing

from lib9.asking import LINE_MAX
from replicator import status
from replicator.console import Console, TooFewReplicas
from replicator.follower import Follower
from replicator.following import Following
from replicator.judging import Judge
from replicator.link import Link
from replicator.positions import Direction, MemoryPositions
from tests.replicator.kit import name_record, nowhere, rules, tree
from venti_store.interfaces import LogRecord
from venti_store.score import BLAKE3
from venti_store.stores.memory import MemoryStore


async def asked(console: Console, line: str) -> str:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(console, theirs)
        await ours.send_all(line.encode())
        answer = b""
        while part := await ours.receive_some():
            answer += part
    return answer.decode()


async def waited(score: str, count: int, seconds: float) -> int:
    if score == "few":
        raise TooFewReplicas("at 0 of 1")
    if score == "bug":
        raise KeyError("no such thing")
    return count


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("status\n", '\t{"a":1}\nok\n'),
        ("wait 3 x 1.5\n", "ok 3\n"),
        ("wait 3 few 1\n", "error 10 at 0 of 1\n"),
        ("wait many x 1\n", "error 1 "),
        ("wait 1 'x 1\n", "error 1 "),
        ("stop\n", "error 2 stop: "),
        ("\n", "error 2 "),
        ("wait 1 bug 1\n", "error 1 internal error: KeyError\n"),
    ],
)
async def test_every_line_has_its_answer(line, answer, caplog):
    def told():
        return {"a": 1}

    got = await asked(Console(told, waited), line)
    assert got.replace(" ", "").startswith(answer.replace(" ", ""))
    assert ("not answered" in caplog.text) == ("internal" in answer)


def test_peers_with_any_number_of_names_cannot_make_the_status_too_long():
    made = tree(1)
    links = []
    for peer in range(8):
        store = MemoryStore()
        link = Link(
            f"p{peer}", Direction.PULL, "x", None, store, MemoryPositions(), Judge(store, rules), None
        )  # fmt: skip
        follower = Follower(nowhere(store))
        link.following = Following(None, store, follower, None)
        records = []
        for number in range(1, 4097):
            data = name_record(f"p{peer}" + "é" * 90 + f".{number}", made.root)
            records.append(LogRecord(number, None, BLAKE3.score(data), data, len(data)))
        follower.read(records, asked=4096)
        links.append(link)
    count, shown = status.waiting_names(links, rules)
    assert count == 8 * 4096
    assert 0 < len(shown) <= status.NAMES_SHOWN_MAX
    assert len(json.dumps(shown)) < LINE_MAX / 8
