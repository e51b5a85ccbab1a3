"""All stores agree: whatever is done to them, in whatever order, they answer the same."""

import shutil
import tempfile
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lib9.errors import SpawngridError
from lib9.waiting import run_now
from venti_store.interfaces import Block, Key
from venti_store.kind import Kind
from venti_store.score import FAMILIES, Family
from venti_store.stores.counting import CountingStore
from venti_store.stores.faulty import Faults, FaultyStore
from venti_store.stores.lmdb.environment import create
from venti_store.stores.lmdb.store import LmdbStore
from venti_store.stores.memory import MemoryStore

kinds = st.sampled_from(sorted(Kind))
# few different blocks, so that the same ones come again
datas = st.one_of(
    st.integers(0, 40).map(lambda n: b"%d" % n * n),
    st.integers(1, 6).map(lambda n: b"score " * 20_000 * n),
    st.binary(max_size=3),
)


class Stores(RuleBasedStateMachine):
    """A plain store in memory, one behind wrappers, and one in LMDB that is often reopened."""

    @initialize(family=st.sampled_from(sorted(FAMILIES.values(), key=lambda f: f.name)))
    def start(self, family: Family) -> None:
        self.family = family
        self.folder = tempfile.mkdtemp(prefix="stores-")
        create(self.folder, family)
        self.lmdb = LmdbStore(self.folder)
        self.memory = MemoryStore(family)
        self.wrapped = CountingStore(FaultyStore(MemoryStore(family), Faults()))
        self.known: list[Key] = []

    @property
    def stores(self) -> list[Any]:
        return [self.memory, self.wrapped, self.lmdb]

    def agreed(self, ask: Any) -> Any:
        answers = []
        for store in self.stores:
            try:
                answers.append(run_now(ask(store)))
            except SpawngridError as error:
                answers.append(type(error))
        assert answers[1:] == answers[:-1]
        return answers[0]

    @rule(blocks=st.lists(st.tuples(kinds, datas), max_size=8))
    def put(self, blocks: list[tuple[Kind, bytes]]) -> None:
        put = [Block(self.family.score(data), kind, data) for kind, data in blocks]
        if self.agreed(lambda store: store.put_many(put)) is None:
            self.known += [Key(block.score, block.kind) for block in put]

    @rule(data=st.data(), other=kinds)
    def get(self, data: st.DataObject, other: Kind) -> None:
        if self.known:
            keys = data.draw(st.lists(st.sampled_from(self.known), max_size=5))
            assert isinstance(self.agreed(lambda store: store.get_many(keys)), list)
            keys = [*keys, *(Key(key.score, other) for key in keys)]
            self.agreed(lambda store: store.get_many(keys))
            self.agreed(lambda store: store.have_many(keys))

    @rule(score=st.binary(min_size=20, max_size=32), kind=kinds)
    def have(self, score: Any, kind: Kind) -> None:
        self.agreed(lambda store: store.have_many([Key(score, kind)]))
        self.agreed(lambda store: store.get_many([Key(score, kind)]))

    @rule()
    def sync(self) -> None:
        self.agreed(lambda store: store.sync())

    @rule(name=st.binary(max_size=20))
    def append_name(self, name: bytes) -> None:
        numbers = []
        for store in (self.memory, self.lmdb):
            try:
                numbers.append(run_now(store.append_name(name)))
            except SpawngridError as error:
                numbers.append(type(error))
        assert numbers[0] == numbers[1]

    @rule()
    def reopen(self) -> None:
        run_now(self.lmdb.aclose())
        self.lmdb = LmdbStore(self.folder)

    @rule(start=st.integers(0, 12))
    def read_the_log(self, start: int) -> None:
        run_now(self.lmdb.sync())
        assert list(self.lmdb.log(start)) == list(self.memory.log(start))
        assert list(self.lmdb.names(start)) == list(self.memory.names(start))

    @invariant()
    def the_log_is_as_long(self) -> None:
        if hasattr(self, "lmdb"):
            waiting = len(self.lmdb._writer.pending)
            assert self.lmdb.last_number() <= self.memory.last_number()
            assert self.lmdb.last_number() + waiting >= self.memory.last_number()

    def teardown(self) -> None:
        if hasattr(self, "lmdb"):
            run_now(self.lmdb.aclose())
            shutil.rmtree(self.folder)


Stores.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestStores = pytest.mark.timeout(300)(Stores.TestCase)
