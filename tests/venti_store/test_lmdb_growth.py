"""Waiting for entries that another process appends."""

import subprocess
import sysconfig
from pathlib import Path

import trio
import trio.testing

from tests.venti_store.kit import new_store
from venti_store.stores.lmdb import growth

VENTI = Path(sysconfig.get_path("scripts")) / "venti"


async def write_elsewhere(path: str, data: bytes) -> None:
    await trio.run_process([VENTI, "write", "-s", path], stdin=data, stdout=subprocess.DEVNULL)


async def all_wake(store) -> None:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(store.wait_log, 2)
            with trio.CancelScope() as first:
                nursery.start_soon(write_elsewhere, store.path, b"one")
                await store.wait_log(1)
                first.cancel()  # one of those who wait leaves
                await store.wait_log(2)
            assert store.last_number() == 1
            nursery.start_soon(write_elsewhere, store.path, b"two")
    assert store.last_number() == 2


async def test_another_process_appends(tmp_path):
    store = new_store(tmp_path)
    await all_wake(store)
    assert store._growth._descriptor is not None
    await store.aclose()
    await store.aclose()


async def test_without_watches_it_looks_again(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "_watch", lambda file: None)
    store = new_store(tmp_path)
    await all_wake(store)
    await store.aclose()
