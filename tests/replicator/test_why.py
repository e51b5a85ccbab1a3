"""A name whose blocks cannot be had: what an operator of the follower is told, until it can."""

import os
import shutil
from pathlib import Path

from lib9 import keys, places
from lib9.waiting import run_now
from tests.commands import output, run, vac
from tests.venti_store.kit import edit
from venti_store.codec import encode
from venti_store.kind import Kind
from venti_store.stores.lmdb.environment import NUMBER
from venti_store.stores.lmdb.store import LmdbStore


def test_a_name_waits_for_a_block_that_is_bad_at_its_source(home: Path, tmp_path: Path) -> None:
    keys.create(str(home / "config/spawngrid/key"))
    places.use(os.environ)
    for name in ("one", "two"):
        run("venti", "init", tmp_path / name)
    (tmp_path / "source").mkdir()
    (tmp_path / "source/file").write_bytes(os.urandom(100_000))
    one, two, whole = (tmp_path / name for name in ("one", "two", "whole"))
    vac("-s", one, "-a", "usr", tmp_path / "source")
    shutil.copytree(one, whole)
    store = LmdbStore(str(one))
    leaf = next(entry for entry in store.entries() if entry.kind is Kind.DATA)
    edit(store, "log", NUMBER.pack(leaf.number), encode(Kind.DATA, leaf.score, b"lies"))
    run_now(store.aclose())
    pull = ("ventiprog", "-s", two, "-f", tmp_path / "info", "--pull")
    run(*pull, one, status=3)
    assert output("grid", "names", "ls", "-s", two) == ""
    why = output("grid", "names", "why", "-s", two, "usr", status=4)
    assert "usr." in why
    assert f": pending: block vac:{leaf.score.hex()} (data): not here" in why
    run(*pull, whole)
    assert "visible" in output("grid", "names", "why", "-s", two, "usr")
    assert "pending" not in output("grid", "names", "why", "-s", two, "usr")
    run("venti", "check", "-s", two, output("grid", "names", "log", "-s", two, "usr").split()[2])
