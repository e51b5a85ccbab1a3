"""Who may write to a server may still not name what is not there."""

import random

import pytest

from tests.kit.serving import serving
from tests.venti_store.hashtree.support import SMALL
from tests.venti_store.names.kit import STO1, STRANGER, about, naming, signed
from venti_store.errors import StoreError
from venti_store.hashtree.build import build_tree
from venti_store.hashtree.entry import pack_entry
from venti_store.hashtree.root import Root, pack_root
from venti_store.interfaces import Batch
from venti_store.kind import Kind
from venti_store.names.gate import NameGate
from venti_store.names.record import Action
from venti_store.score import BLAKE3, Score
from venti_store.stores.memory import MemoryStore


def tree(seed: int):
    sink = Batch(BLAKE3)
    entry = build_tree(sink, random.Random(seed).randbytes(3500), dsize=SMALL, psize=SMALL)
    leaf = sink.put(Kind.DIRECTORY, pack_entry(BLAKE3, entry))
    root = sink.put(Kind.ROOT, pack_root(BLAKE3, Root(b"", b"vac", leaf, 8192, BLAKE3.nothing)))
    return root, sink.take()


async def test_only_whole_roots_get_names_from_afar():
    store = MemoryStore()
    root, blocks = tree(1)
    named = naming("usr", root)
    async with serving(store, admit_name=NameGate(store)) as there:
        client = await there.client()
        await client.put_many(blocks[1:])
        await client.sync()
        for by in (STO1, STRANGER):
            with pytest.raises(StoreError, match=r"there: usr\..*: not all of its root is here: "):
                await client.append_name(signed(naming("usr", root, by=by), by).data)
        with pytest.raises(StoreError, match="its root is of another hash"):
            await client.append_name(signed(naming("usr", Score(b"x" * 20))).data)
        with pytest.raises(StoreError, match="name record"):
            await client.append_name(b"anything")
        assert list(store.names()) == []
        await client.put_many(blocks[:1])
        assert await client.append_name(signed(named).data) == len(blocks) + 1
        assert await client.append_name(signed(about(named, Action.FORGET)).data)
        await client.aclose()
