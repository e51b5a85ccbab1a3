"""The state machine alone: any log, answers in any order, ends that lack blocks, starts anywhere."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replicator import actions, follower
from replicator.actions import Judgement, Position
from replicator.follower import PAGE_ENTRIES, Follower
from replicator.following import Following
from venti_store.interfaces import Key, LogRecord
from venti_store.kind import BLOCK_SIZE_MAX, Kind
from venti_store.score import BLAKE3, Score

ZEROS = Score(bytes(32))


def entry(number: int, text: str) -> LogRecord:
    """A block, or with `n` first a name, or with `!` an entry that cannot be read."""
    data = text.encode()
    if text == "!":
        return LogRecord(number, None, ZEROS, b"", 0)
    if text.startswith("n"):
        return LogRecord(number, None, BLAKE3.score(data), data, len(data))
    return LogRecord(number, Kind.DATA, BLAKE3.score(data), b"", 100)


class World:
    """A source, a destination that loses what is not synced, and a follower between them."""

    def __init__(self, texts, seed=0, *, start=0, until=True, lost=(), bad=()):
        self.chance = random.Random(seed)
        self.log = [entry(n, text) for n, text in enumerate(texts, 1)]
        self.texts = texts
        self.lost = {BLAKE3.score(text.encode()) for text in lost}
        self.bad = set(bad)
        self.have, self.durable, self.names, self.fetched = set(), set(), [], {}
        self.position = None
        score = self.log[start - 1].score if start else ZEROS
        self.follower = Follower(
            Position("s", start, score), until=len(self.log) if until else None
        )
        self.pending = []
        self.asked = {}

    def run(self):
        while True:
            self.take_actions()
            if not self.pending or all(getattr(a, "wait", False) for a in self.pending):
                return
            ready = [a for a in self.pending if not getattr(a, "wait", False)]
            action = self.chance.choice(ready)
            self.pending.remove(action)
            self.carry_out(action)

    def take_actions(self):
        for action in self.follower.actions():
            if isinstance(action, actions.SavePosition):
                self.carry_out(action)
            else:
                self.pending.append(action)

    def carry_out(self, action):
        f = self.follower
        match action:
            case actions.ReadLog(start, before, count):
                assert before is None or before == self.log[start - 2].score
                f.read(self.log[start - 1 : start - 1 + count], asked=count)
            case actions.ReadAgain(number):
                f.read_again(self.log[number - 1])
            case actions.AskHave(keys):
                f.have([key.score in self.have for key in keys])
            case actions.Fetch(chunk, keys):
                assert chunk not in self.fetched
                self.fetched[chunk] = [k for k in keys if k.score not in self.lost]
                f.fetched(chunk, {k for k in keys if k.score in self.lost})
            case actions.Put(chunk):
                self.have |= {key.score for key in self.fetched.pop(chunk)}
                f.put(chunk)
            case actions.Sync():
                self.durable = set(self.have)
                f.synced()
            case actions.Judge(names):
                f.judged([self.judge(name) for name in names])
            case actions.AppendNames(names):
                for name in names:
                    before = [e for e in self.log[: name.number - 1] if e.kind is not None]
                    assert {e.score for e in before} <= self.durable, "a name before its blocks"
                    self.names.append(name.data.decode())
                f.appended()
            case actions.SavePosition(position):
                assert position.number > (self.position.number if self.position else 0)
                self.position = position
                self.check_position(position)

    def judge(self, name):
        text = name.data.decode()
        if text.startswith("nbad"):
            return Judgement(refused="bad by intent")
        if text in self.bad:
            return Judgement(missing=(Key(BLAKE3.score(b"hidden"), Kind.DATA),))
        return Judgement()

    def check_position(self, position):
        done = self.log[: position.number]
        assert position.score in (done[-1].score, ZEROS)  # zeros: it could not be read then
        assert {e.score for e in done if e.kind is not None} <= self.durable
        names = [e.data.decode() for e in done if e.kind is None]
        assert set(names) - set(self.names) <= {n for n in names if n.startswith("nbad")}


texts = st.lists(
    st.sampled_from(["n1", "n2", "n3", "nbad", "a", "b", "c", "d", "e"])
    | st.text("xyz", min_size=1),
    max_size=40,
)


@pytest.fixture(autouse=True)
def small_limits(monkeypatch):
    for name, value in {
        "CHUNK_BYTES": 300, "FETCHED_BYTES_MAX": 900, "SYNC_BYTES": 600, "FETCHES_MAX": 3,
        "NAMES_AT_ONCE": 3, "PAGE_ENTRIES": 7, "ENTRIES_AHEAD_MAX": 14, "SYNC_ENTRIES": 12,
    }.items():  # fmt: skip
        monkeypatch.setattr(follower, name, value)


@settings(max_examples=300)
@given(texts, st.integers(0, 1 << 30))
def test_everything_comes_whatever_the_order_of_answers(texts, seed):
    world = World(texts, seed)
    world.run()
    assert world.follower.finished
    assert world.names == [t for t in texts if t.startswith("n") and t != "nbad"]
    assert world.durable == {e.score for e in world.log if e.kind is not None}
    if texts:
        assert world.position == Position("s", len(texts), world.log[-1].score)


@settings(max_examples=300)
@given(texts, st.sets(st.sampled_from("abcde")), st.integers(0, 1 << 30))
def test_no_name_passes_a_hole_and_all_come_when_it_is_filled(texts, lost, seed):
    world = World(texts, seed, lost=lost)
    world.run()
    assert world.follower.finished
    first = next((n for n, t in enumerate(texts) if t in lost), len(texts))
    names = [t for t in texts if t.startswith("n") and t != "nbad"]
    before = [t for t in texts[:first] if t.startswith("n") and t != "nbad"]
    assert world.names == before
    assert (world.position.number if world.position else 0) == first
    waiting = [(r.data.decode(), partial) for r, partial in world.follower.waiting_names()]
    assert all(partial for _, partial in waiting)
    world.lost = set()
    world.follower.retry()
    world.run()
    assert world.names == names
    assert not world.follower.holes
    assert (world.position.number if world.position else 0) == len(texts)


@settings(max_examples=200)
@given(texts, st.integers(0, 1 << 30), st.data())
def test_an_interrupted_follower_begins_where_it_was(texts, seed, data):
    first = World(texts, seed)
    for _ in range(data.draw(st.integers(0, 60))):
        first.take_actions()
        if not first.pending:
            break
        first.carry_out(first.pending.pop(data.draw(st.integers(0, len(first.pending) - 1))))
    number = first.position.number if first.position else 0
    second = World(texts, seed + 1, start=number)
    second.have, second.names = set(first.durable), list(first.names)  # what was not synced is lost
    second.durable = set(first.durable)
    second.run()
    assert second.durable == {e.score for e in second.log if e.kind is not None}
    names = {t for t in texts if t.startswith("n") and t != "nbad"}
    assert set(second.names) == names


def test_an_entry_that_cannot_be_read_is_a_hole_until_it_can():
    world = World(["a", "!", "n1", "b", "!", "n2"])
    world.run()
    assert world.names == []
    assert [hole.number for hole in world.follower.holes] == [2, 5]
    assert world.position.number == 1
    world.log[1] = entry(2, "n0")
    world.log[4] = entry(5, "c")
    world.follower.retry()
    world.run()
    assert world.names == ["n0", "n1", "n2"]
    assert world.follower.holes == []
    assert world.position.number == 6


def test_a_name_that_lacks_a_block_holds_back_those_behind_it():
    world = World(["a", "n1", "n2", "b", "n3"], bad=["n2"], lost=["hidden"])
    world.run()
    assert world.names == ["n1"]
    assert world.position.number == 2
    assert [h.key.score for h in world.follower.holes] == [BLAKE3.score(b"hidden")]
    world.bad, world.lost = set(), set()
    world.follower.retry()
    world.run()
    assert world.names == ["n1", "n2", "n3"]


def test_without_an_end_it_waits_for_more():
    world = World(["a", "n1"], until=False)
    world.run()
    assert world.names == ["n1"]
    assert world.follower.idle
    assert not world.follower.finished
    [waiting] = world.pending
    assert waiting == actions.ReadLog(3, world.log[1].score, follower.PAGE_ENTRIES, True)
    world.pending.clear()
    world.log.append(entry(3, "n2"))
    world.follower.read(world.log[2:], asked=follower.PAGE_ENTRIES)
    world.run()
    assert world.names == ["n1", "n2"]


def test_a_block_that_occurs_again_is_not_fetched_twice():
    world = World(["a", "b", "a", "b", "n1"])
    world.run()
    assert world.names == ["n1"]


def test_what_is_under_way_is_bounded(monkeypatch):
    monkeypatch.undo()
    f = Follower(Position("s", 0, ZEROS))
    records = [
        LogRecord(n, Kind.DATA, BLAKE3.score(b"%d" % n), b"", 64 << 10)
        for n in range(1, PAGE_ENTRIES + 1)
    ]
    [read] = f.actions()
    f.read(records, asked=read.count)
    _, have = f.actions()
    f.have([False] * len(have.keys))
    fetches = [a for a in f.actions() if isinstance(a, actions.Fetch)]
    assert len(fetches) == follower.FETCHES_MAX
    assert sum(len(a.keys) << 16 for a in fetches) <= follower.FETCHED_BYTES_MAX
    for fetch in fetches[1:]:  # the first is slow: the others wait for it, and no more is fetched
        f.fetched(fetch.chunk, ())
    more = f.actions()
    assert not [a for a in more if isinstance(a, actions.Put)]
    assert len(fetches) + len(more) <= follower.FETCHED_BYTES_MAX // follower.CHUNK_BYTES + 1


def test_holes_are_fetched_within_the_same_bound(monkeypatch):
    texts = [f"b{n}" for n in range(100)]
    world = World([*texts, "n1"], lost=texts)
    world.run()
    world.follower.retry()
    [have] = world.follower.actions()
    world.carry_out(have)
    fetches = [a for a in world.follower.actions() if isinstance(a, actions.Fetch)]
    assert len(fetches) == follower.FETCHES_MAX
    assert sum(sum(a.sizes_max) for a in fetches) <= follower.FETCHED_BYTES_MAX
    world.follower.retry()  # some are still to be fetched: none is asked for twice
    assert world.follower.actions() == []
    world.lost = set()
    world.pending = fetches
    world.run()
    assert world.names == ["n1"]


def test_holes_of_unknown_size_may_be_as_large_as_blocks_are(monkeypatch):
    monkeypatch.setattr(follower, "FETCHED_BYTES_MAX", 24 << 20)
    monkeypatch.setattr(follower, "CHUNK_BYTES", 2 << 20)
    f = World(["n1"]).follower
    f.read([entry(1, "n1")], asked=1)
    f.actions()
    f.synced()
    f.actions()
    keys = [Key(BLAKE3.score(b"%d" % n), Kind.DATA) for n in range(64)]
    f.judged([Judgement(missing=tuple(keys))])
    fetches = [a for a in f.actions() if isinstance(a, actions.Fetch)]
    assert [len(a.keys) for a in fetches] == [2] * follower.FETCHES_MAX
    assert {size for a in fetches for size in a.sizes_max} == {BLOCK_SIZE_MAX}


def test_the_log_is_read_no_further_when_the_names_that_wait_are_large(monkeypatch):
    monkeypatch.setattr(follower, "NAMES_BYTES_MAX", 100)
    world = World(["a", "n" * 50, "n1" * 25, *["b"] * 5, "n2"], lost=["a"])
    world.run()
    assert world.follower.next_number == 8  # one page
    world.lost = set()
    world.follower.retry()
    world.run()
    assert world.names == ["n" * 50, "n1" * 25, "n2"]


@pytest.mark.parametrize(("lost", "at_once"), [(256, True), (257, False)])
def test_news_are_no_reason_to_ask_for_very_many_blocks_again(lost, at_once):
    texts = [f"b{n}" for n in range(lost)]
    world = World([*texts, "n1"], lost=texts)
    world.run()
    following = Following(None, None, world.follower, None)
    assert world.follower.actions() == []
    following.news()
    assert bool(world.follower.actions()) == at_once
    following.retry()
    assert at_once or world.follower.actions()
