import errno
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import pytest

from lib9.keys import BadKey
from tests.venti_store.names.kit import (
    STO1,
    STO2,
    STRANGER,
    TIME,
    TRUST,
    about,
    naming,
    signed,
)
from tests.venti_store.names.stores import Node, put_tree, tree
from venti_store.errors import StoreFull
from venti_store.interfaces import Key
from venti_store.kind import Kind
from venti_store.names import waiting
from venti_store.names.errors import (
    BadName,
    NoSuchName,
    RootIncomplete,
    TooManyWaiting,
)
from venti_store.names.interfaces import State
from venti_store.names.page import SCORENAMES
from venti_store.names.pending import PENDING
from venti_store.names.record import Action, unpack
from venti_store.names.signing import Trust, sign
from venti_store.names.view import View
from venti_store.score import SHA1, Score

ROB = {"user": "rob", "now_us": TIME}
GLENDA = {"user": "glenda", "now_us": TIME}


async def test_a_root_gets_names_one_after_another() -> None:
    node = Node()
    one, two = [await put_tree(node.store, word) for word in ("one", "two")]
    first = await node.book.record("usr", one, comment="the first", **GLENDA)
    second = await node.book.record("usr", two, **GLENDA)
    assert (first.score, first.seq, first.time, first.comment) == (one, 1, TIME, "the first")
    assert (second.seq, second.time, second.parent) == (2, TIME + 1, first.full)
    assert [node.book.find(text, "glenda") for text in ("usr", "usr~1", first.full)] == [
        second, first, first,
    ]  # fmt: skip
    assert node.book.names() == node.book.names("glenda") == [first, second]
    assert node.book.names("rob") == []
    assert [unpack(data)[0].full for data in node.records()] == [first.full, second.full]
    assert node.store.blocks.keys() >= {(one, Kind.ROOT), (two, Kind.ROOT)}


async def test_a_clock_that_was_wrong_does_not_put_later_names_first() -> None:
    node = Node()
    score = await put_tree(node.store, "one")
    wrong = await node.book.record("usr", score, user="glenda", now_us=TIME + 10**15)
    right = await node.book.record("usr", score, user="glenda", now_us=TIME)
    assert node.book.find("usr", "glenda") == right
    assert right.time == wrong.time + 1
    early = await node.book.record("other", score, user="glenda", now_us=-5)
    assert early.time == 0


async def test_nothing_is_named_before_all_of_it_is_here() -> None:
    node = Node()
    score, blocks = tree("one")
    for missing in blocks:
        partial = Node()
        await partial.store.put_many([b for b in blocks if b != missing])
        with pytest.raises(RootIncomplete, match=missing.score.hex()):
            await partial.book.record("usr", score, **GLENDA)
        assert partial.records() == []
    with pytest.raises(RootIncomplete):
        await node.book.record("usr", Score(bytes([1] * 32)), **GLENDA)


async def test_what_cannot_be_recorded() -> None:
    node = Node()
    score = await put_tree(node.store, "one")
    for bad in ({"name": "a/b"}, {"user": "a b"}):
        with pytest.raises(BadName):
            await node.book.record(**{"name": "usr", "score": score, **GLENDA, **bad})
    with pytest.raises(NoSuchName):
        await node.book.record("usr", score, parent="sys.0123456789abcdef", **GLENDA)
    with pytest.raises(BadKey, match="grid key new"):
        await Node(None).book.record("usr", score, **GLENDA)
    assert node.records() == []


async def test_share_unshare_and_forget() -> None:
    node = Node()
    named = await node.book.record("usr", await put_tree(node.store, "one"), **GLENDA)
    with pytest.raises(NoSuchName, match="not shared with rob"):
        node.book.find("usr", "rob")
    await node.book.share("usr", "rob", **GLENDA)
    await node.book.share("usr", "rob", **GLENDA)
    await node.book.share("usr", "*", **GLENDA)
    assert len(node.records()) == 3
    assert node.book.find("usr", "rob").full == named.full
    for call in (node.book.forget("usr", **ROB), node.book.share("usr", "ken", **ROB)):
        with pytest.raises(NoSuchName, match="glenda"):
            await call
    await node.book.unshare("usr", "*", **GLENDA)
    assert node.book.find("usr", "glenda").shared == {"rob"}
    await node.book.unshare("usr", "rob", **GLENDA)
    with pytest.raises(NoSuchName):
        node.book.find(named.full, "rob")
    with pytest.raises(NoSuchName, match="not shared with rob"):
        await node.book.unshare("usr", "rob", **GLENDA)
    await node.book.share("usr", "rob", **GLENDA)
    assert node.book.find("usr", "rob")
    await node.book.forget("usr", **GLENDA)
    assert node.book.names() == []
    for user in ("", "a/b"):
        with pytest.raises(BadName):
            await node.book.share("usr", user, **GLENDA)
    seqs = [unpack(data)[0].seq for data in node.records()]
    assert seqs == list(range(1, len(seqs) + 1))


async def carried(source: Node, target: Node) -> list[State]:
    return [verdict.state for verdict in await target.book.take(source.records())]


async def test_records_of_another_node_wait_for_their_blocks() -> None:
    sto1, sto2 = Node(STO1), Node(STO2)
    score, blocks = tree("one")
    await sto1.store.put_many(blocks)
    named = await sto1.book.record("usr", score, **GLENDA)
    await sto1.book.share("usr", "rob", **GLENDA)
    assert await carried(sto1, sto2) == [State.PENDING, State.RECORDED]
    assert sto2.book.names() == []
    [waits] = sto2.another().pending()
    assert (waits.label, waits.holes[0].key) == (named.full, Key(score, Kind.ROOT))
    await sto2.store.put_many(blocks[1:])
    assert [v.state for v in await sto2.book.retry()] == [State.PENDING]
    [waits] = sto2.book.pending()
    assert waits.holes[0].key == Key(blocks[0].score, blocks[0].kind)
    await sto2.store.put_many(blocks[:1])
    [done] = await sto2.another().retry()
    assert (done.state, done.number) == (State.RECORDED, sto2.store.last_number())
    assert sto2.book.find("usr", "rob") == replace(named, shared=frozenset({"rob"}))
    assert sto2.book.pending() == []
    assert await sto2.book.retry() == []
    assert await carried(sto1, sto2) == [State.KNOWN, State.KNOWN]
    assert sto2.records() == sto1.records()[::-1]


async def test_what_waited_and_came_into_the_log_another_way_waits_no_more() -> None:
    sto1, sto2 = Node(STO1), Node(STO2)
    for word in ("one", "two"):
        score = await put_tree(sto1.store, word)
        await sto1.book.record(word, score, **GLENDA)
    await carried(sto1, sto2)
    assert len(sto2.book.pending()) == 2
    await put_tree(sto2.store, "one")
    await sto2.store.append_names(sto1.records()[:1])  # as a follower does
    await sto2.book.refresh()
    assert [v.label for v in sto2.book.pending()] == [sto1.book.find("two", "glenda").full]


async def test_judging_changes_nothing() -> None:
    sto1, sto2 = Node(STO1), Node(STO2)
    await sto1.book.record("usr", await put_tree(sto1.store, "one"), **GLENDA)
    assert [v.state for v in await sto2.book.judge(sto1.records())] == [State.PENDING]
    await put_tree(sto2.store, "one")
    assert [v.state for v in await sto2.book.judge(sto1.records())] == [State.RECORDED]
    assert sto2.records() == []
    assert sto2.folder.files == {}


async def test_what_is_not_to_be_trusted_stays_out() -> None:
    sto1, sto2 = Node(STO1), Node(STO2)
    score = await put_tree(sto2.store, "one")
    good = signed(naming(score=score)).data
    forged = good.replace(b"sig=", b"sig=00")[:-3] + b"\n"
    foreign = sign(naming(score=score, by=STRANGER), STRANGER).data
    classic = signed(naming(score=SHA1.score(b"x"))).data
    verdicts = await sto2.book.take([b"x=y\n", good + good, forged, foreign, classic, good])
    assert [v.state for v in verdicts] == [
        State.REFUSED, State.REFUSED, State.REFUSED, State.PENDING, State.REFUSED, State.RECORDED,
    ]  # fmt: skip
    assert "signature" in verdicts[2].why
    assert "right names" in verdicts[3].why
    assert "another hash" in verdicts[4].why
    assert sto2.records() == [good]
    assert [v.state for v in sto2.book.pending()] == [State.REFUSED, State.PENDING, State.REFUSED]
    knows = Trust(TRUST.origins | {STRANGER.public: "sto3"})
    assert [v.state for v in await sto2.another(knows).retry()] == [State.RECORDED]
    assert len(sto2.records()) == 2
    assert (await sto1.book.take([])) == []
    assert [v.state for v in await sto1.book.take([good + good])] == [State.REFUSED]
    assert sto1.book.pending() == []


async def test_what_came_into_the_log_past_the_book_is_verified_before_it_is_shown() -> None:
    node = Node()
    score = await put_tree(node.store, "one")
    foreign = sign(naming(score=score, by=STRANGER), STRANGER).data
    await node.store.append_names([b"junk", foreign, signed(naming(score=score)).data])
    await node.book.refresh()
    assert [named.origin for named in node.book.names()] == [STO1.public]
    # a key that is trusted from now on, or no longer
    both = node.another(Trust(TRUST.origins | {STRANGER.public: "sto3"}), "other")
    await both.refresh()
    assert len(both.names()) == 2
    none = node.another(Trust({}), "third")
    await none.refresh()
    assert none.names() == []


@pytest.mark.parametrize("damage", [b"", b"scorename=x", b"\xff\n", None])
async def test_the_file_is_made_again_from_the_log(damage: bytes | None) -> None:
    node = Node()
    score = await put_tree(node.store, "one")
    for _ in range(3):
        await node.book.record("usr", score, **GLENDA)
    await node.book.share("usr~1", "rob", **GLENDA)
    before, names = node.folder.files[SCORENAMES], node.book.names()
    node.folder.files.pop(SCORENAMES)
    if damage is not None:
        await node.folder.replace(SCORENAMES, before + damage if damage else damage)
    again = node.another()
    await again.refresh()
    assert again.names() == names
    assert node.folder.files[SCORENAMES] == before


@pytest.mark.parametrize("line", [1, 2, 3, 4])
@pytest.mark.parametrize("change", ["seq=", "time=2", "user=", "number=", "with="])
async def test_a_line_that_somebody_changed_costs_nothing(line: int, change: str) -> None:
    node = Node()
    score = await put_tree(node.store, "one")
    for _ in range(3):
        await node.book.record("usr", score, **GLENDA)
    await node.book.share("usr~1", "*", **GLENDA)
    lines = node.folder.files[SCORENAMES].decode().splitlines(keepends=True)
    lines[line] = lines[line].replace(change, "x" + change + "?")
    await node.folder.replace(SCORENAMES, "".join(lines).encode())
    named = await node.another().record("usr", score, **GLENDA)
    await node.another().share("usr~2", "rob", **GLENDA)
    book = node.another()
    assert (named.seq, len(book.names())) == (5, 4)
    assert book.names() == View(unpack(data)[0] for data in node.records()).visible()


async def test_a_store_that_was_set_back_takes_its_names_back() -> None:
    node, older = Node(), Node()
    score = await put_tree(node.store, "one")
    await node.book.record("usr", score, **GLENDA)
    await put_tree(older.store, "two")
    await older.book.record("usr", await put_tree(older.store, "one"), **GLENDA)
    await older.folder.replace(SCORENAMES, node.folder.files[SCORENAMES])
    assert len(node.store._log) < len(older.store._log)
    for stale, right in ((node, older), (older, node)):
        text = right.folder.files[SCORENAMES]
        await stale.folder.replace(SCORENAMES, text)
        book = stale.another()
        await book.refresh()
        assert [n.full for n in book.names()] == [unpack(r)[0].full for r in stale.records()]


@pytest.mark.parametrize("seed", range(8))
async def test_nodes_that_hear_of_each_other_in_any_order_agree(seed: int) -> None:
    rng = random.Random(seed)
    nodes = [Node(STO1), Node(STO2), Node(None)]
    for node in nodes:
        scores = [await put_tree(node.store, word) for word in "ab"]

    async def act(node: Node) -> None:
        user, now = rng.choice(["glenda", "rob"]), TIME + rng.randrange(9)
        mine = [named.full for named in node.book.names(user) if named.owner == user]
        what = rng.choice(["name", "name", "forget", "share", "unshare"]) if mine else "name"
        with suppress(NoSuchName):
            if what == "name":
                await node.book.record("usr", rng.choice(scores), user=user, now_us=now)
            elif what == "forget":
                await node.book.forget(rng.choice(mine), user=user, now_us=now)
            else:
                call = node.book.share if what == "share" else node.book.unshare
                await call(rng.choice(mine), rng.choice(["ken", "*"]), user=user, now_us=now)

    for _ in range(20):
        await act(rng.choice(nodes[:2]))
        source, target = rng.sample(nodes, 2)
        records = rng.sample(source.records(), rng.randrange(len(source.records()) + 1))
        await target.book.take(records)
    for source in nodes * 2:
        for target in nodes:
            await target.book.take(rng.sample(source.records(), len(source.records())))
    shown = [node.book.names() for node in nodes]
    assert shown[0] == shown[1] == shown[2]
    assert shown[0] == View(unpack(data)[0] for data in nodes[2].records()).visible()
    assert len(nodes[2].records()) >= 10


async def test_two_nodes_agree_after_they_have_each_others_records() -> None:
    sto1, sto2 = Node(STO1), Node(STO2)
    score = await put_tree(sto1.store, "one")
    await put_tree(sto2.store, "one")
    for number, node in enumerate((sto1, sto2, sto2, sto1)):
        await node.book.record("usr", score, user="glenda", now_us=TIME + number)
    await sto1.book.share("usr", "rob", **GLENDA)
    await sto2.book.forget("usr~1", **GLENDA)
    await carried(sto1, sto2)
    await carried(sto2, sto1)
    assert sto1.book.names() == sto2.book.names()
    records = [unpack(data)[0] for data in sto1.records()]
    assert sto1.book.names() == View(records).visible()
    assert View(records).conflicts() == []


async def test_a_node_set_back_goes_on_counting_behind_what_it_hears() -> None:
    sto1, sto2, again = Node(STO1), Node(STO2), Node(STO1)
    for node in (sto1, sto2, again):
        score = await put_tree(node.store, "one")
    for _ in range(3):
        await sto1.book.record("usr", score, **GLENDA)
    await carried(sto1, sto2)
    await carried(sto2, again)
    assert (await again.book.record("usr", score, **GLENDA)).seq == 4
    blank = Node(STO1)
    await put_tree(blank.store, "one")
    await blank.book.record("other", score, **GLENDA)
    await carried(blank, sto2)
    [conflict] = View(unpack(data)[0] for data in sto2.records()).conflicts()
    assert (conflict.origin, conflict.seq) == (STO1.public, 1)


async def test_limits_of_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PENDING_MAX", 3)
    monkeypatch.setattr(waiting, "REFUSED_MAX", 2)
    node = Node()
    waits = [signed(naming(seq=n)).data for n in range(1, 5)]
    forged = [data[:-129] + b"0" * 128 + b"\n" for data in waits]
    await node.book.take([*waits[:3], *forged])
    assert [v.state for v in node.book.pending()] == [State.PENDING] * 3 + [State.REFUSED] * 2
    with pytest.raises(TooManyWaiting):
        await node.book.take(waits)
    assert node.folder.files[PENDING].count(b"state=pending") == 3


async def test_the_check_costs_what_changed() -> None:
    node = Node()
    old = await put_tree(node.store, "one", files=200)
    await node.book.record("usr", old, **GLENDA)
    asked: list[Key] = []
    get_many = node.store.get_many

    async def counted(keys):
        asked.extend(keys)
        return await get_many(keys)

    node.store.get_many = counted
    await node.book.record("usr", old, **GLENDA)
    assert asked == []
    await node.book.record("other", old, whole=[old, Score(bytes(32))], **GLENDA)
    assert asked == []
    await node.book.record("third", old, **GLENDA)
    assert len(asked) > 200


async def test_a_pending_record_says_what_it_waits_for_to_ndbquery() -> None:
    node = Node()
    record = naming()
    await node.book.take([signed(record).data, signed(about(record, Action.FORGET)).data])
    text = node.folder.files[PENDING].decode()
    assert text.startswith(f"scorename={record.full} rootscore=")
    assert "\tstate=pending why=" in text
    assert f'\tmissing=vac:{record.score.hex()} kind=1 why="not here"\n' in text


async def test_a_full_store_takes_no_name_and_no_number_is_used_twice() -> None:
    node = Node()
    score = await put_tree(node.store, "one")
    append_names = node.store.append_names
    kept: list[bytes] = []

    async def full(records: Sequence[bytes]) -> list[int]:
        kept[:] = records  # as a store does: it may find space later
        raise StoreFull("no space")

    node.store.append_names = full
    for _ in range(2):
        with pytest.raises(StoreFull):
            await node.book.record("usr", score, **GLENDA)
    assert node.book.names() == []

    async def roomy(records: Sequence[bytes]) -> list[int]:
        await append_names(kept)
        return await append_names(records)

    node.store.append_names = roomy
    named = await node.book.record("usr", score, **GLENDA)
    assert named.seq == 2
    assert len(node.book.names()) == 2
    assert View(unpack(data)[0] for data in node.records()).conflicts() == []


async def test_a_full_disk_beside_the_store_only_delays_what_is_shown() -> None:
    node = Node()
    score = await put_tree(node.store, "one")
    await node.book.refresh()
    append, replace_ = node.folder.append, node.folder.replace

    async def full(name: str, data: bytes) -> None:
        await replace_(name, node.folder.read(name) + data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "no space")

    node.folder.append = node.folder.replace = full
    with pytest.raises(OSError, match="no space"):
        await node.book.record("usr", score, **GLENDA)
    node.folder.append, node.folder.replace = append, replace_
    other = node.another()
    await other.refresh()
    assert [n.seq for n in other.names()] == [1]
    assert (await other.record("usr", score, **GLENDA)).seq == 2


async def test_who_is_cancelled_while_it_records_leaves_all_or_nothing() -> None:
    import trio

    node = Node()
    score = await put_tree(node.store, "one")
    append_names = node.store.append_names
    scope = trio.CancelScope()

    async def cancelled(records: Sequence[bytes]) -> list[int]:
        scope.cancel()
        await trio.lowlevel.checkpoint()
        return await append_names(records)

    node.store.append_names = cancelled
    with scope:
        await node.book.record("usr", score, **GLENDA)
    assert len(node.book.names()) == len(node.records()) == 1
