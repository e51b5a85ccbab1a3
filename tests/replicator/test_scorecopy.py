"""Names alone: from a store beside ours and from one far away."""

import json
from pathlib import Path

import pytest

from lib9.keys import format_key
from lib9.waiting import run_now
from replicator import scorecopy
from replicator.ends import end_of
from replicator.scorecopy import copy_names
from tests.commands import output, run
from tests.kit.serving import serving
from tests.venti_store.names.kit import STO1, STO2, STRANGER, TIME, naming
from tests.venti_store.names.stores import Node, disk_book, put_tree
from venti_store.names.interfaces import State, Verdict
from venti_store.names.signing import sign


async def copied(source, node: Node) -> list[Verdict]:
    told: list[Verdict] = []
    await copy_names(end_of(source, "peer"), node.book, told.extend)
    return told


@pytest.mark.parametrize("far", [False, True])
async def test_names_whose_blocks_are_here_become_visible(far: bool, monkeypatch) -> None:
    monkeypatch.setattr(scorecopy, "ENTRIES_AT_ONCE", 7)
    monkeypatch.setattr(scorecopy, "NAMES_AT_ONCE", 2)
    sto1, sto2 = Node(STO1), Node(STO2)
    for word in ("one", "two", "three"):
        score = await put_tree(sto1.store, word)
        await sto1.book.record(word, score, user="glenda", now_us=TIME)
    await sto1.book.share("one", "rob", user="glenda", now_us=TIME)
    await put_tree(sto2.store, "one")
    await put_tree(sto2.store, "three")

    async def copy() -> list[Verdict]:
        if not far:
            return await copied(sto1.store, sto2)
        async with serving(sto1.store) as server:
            return await copied(await server.client(), sto2)

    assert sorted(v.state for v in await copy()) == [
        State.PENDING, State.RECORDED, State.RECORDED, State.RECORDED,
    ]  # fmt: skip
    assert {n.name for n in sto2.book.names()} == {"one", "three"}
    assert [n.name for n in sto2.book.names("rob")] == ["one"]
    await put_tree(sto2.store, "two")
    assert sorted(v.state for v in await copy()) == [
        State.KNOWN, State.KNOWN, State.KNOWN, State.RECORDED,
    ]  # fmt: skip
    assert sto2.book.names() == sto1.book.names()
    assert {v.state for v in await copy()} == {State.KNOWN}


def test_scorecopy_as_it_is_typed(home: Path) -> None:
    (home / "config/spawngrid").mkdir()
    (home / "config/spawngrid/ndb").write_text(
        f"sys=sto1 pubkey={format_key(STO1.public)} right=names dial={home}/peer\n"
    )
    peer, book = disk_book(home / "peer")
    mine, _ = disk_book(home / "data/venti")

    async def fill() -> str:
        score = await put_tree(peer, "one")
        named = await book.record("usr", score, user="glenda", now_us=TIME)
        await peer.append_names([sign(naming(by=STRANGER), STRANGER).data])
        await peer.aclose()
        await mine.aclose()
        return named.full

    full = run_now(fill())
    done = run("scorecopy", "sto1", status=3)
    assert done.stdout == b""
    said = done.stderr.decode().splitlines()
    assert said[0].startswith(f"scorecopy: {full}: pending: vac:")
    assert "right names" in said[1]
    assert said[2] == "scorecopy: sto1: 2 pending"
    score = json.loads(output("grid", "names", "show", "--json", "-s", f"{home}/peer", full))
    run("venti", "copy", f"{home}/peer", home / "data/venti", score["rootscore"])
    assert output("scorecopy", home / "peer", status=3) == full
    facts = [json.loads(v) for v in output("scorecopy", "--json", "sto1", status=3).splitlines()]
    assert [fact["is"] for fact in facts] == ["known", "pending"]
    assert output("grid", "names", "ls", "-u", "glenda").split()[:1] == [full]
    assert "no log" in run("scorecopy", f"any!{home}/peer", status=6).stderr.decode()
    assert (
        "path of a store" in run("scorecopy", "-s", "tcp!127.1!1", "sto1", status=6).stderr.decode()
    )
    assert "neither an address" in run("scorecopy", "sto9", status=2).stderr.decode()
