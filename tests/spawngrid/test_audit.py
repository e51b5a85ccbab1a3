"""The audit log: what is always there, what one user may fill, and how it is put aside."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ndbdb.parser import parse
from spawngrid.errors import BadWord, RequestFailed
from spawngrid.node import requests
from spawngrid.node.gridsvc import GridHubs
from spawngrid.node.requests import RequestService
from spawngrid.request.queue import Queue
from spawngrid.settings import audit as audits
from spawngrid.settings.allowance import Allowance
from spawngrid.settings.audit import OLD_FILES_MAX, REFUSED_MAX, Audit, Refusals


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    return Audit(str(tmp_path / "log/audit"))


def records(audit: Audit) -> list[tuple[str, str]]:
    """Return who and what of all records, the oldest first."""
    path = Path(audit.path)
    old = [path.with_name(f"audit.{n}") for n in range(99, 0, -1)]
    found = [record for file in (*old, path) if file.exists() for record in parse(file.read_text())]
    return [(record.need("user"), record.need("what")) for record in found]


def test_an_allowance_is_for_each_and_for_one_turn() -> None:
    allowance = Allowance(2)
    assert [allowance.take(who) for who in ("a", "a", "b", "a", "a")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert allowance.turn() == {"a": 2}
    assert allowance.turn() == {}
    assert allowance.take("a")


def test_a_full_file_is_put_aside_and_some_are_kept(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audits, "FILE_SIZE_MAX", 200)
    for n in range(101):
        audit("glenda", f"spawn {n}")
    folder = Path(audit.path).parent
    sizes = [file.stat().st_size for file in folder.iterdir()]
    assert max(sizes) <= 200 + 100  # the last record is in it
    assert len(sizes) == 1 + OLD_FILES_MAX
    kept = records(audit)
    assert len(kept) > 30
    assert kept == [("glenda", f"spawn {n}") for n in range(101 - len(kept), 101)]


def test_nothing_is_lost_when_several_put_a_file_aside(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audits, "FILE_SIZE_MAX", 2000)
    monkeypatch.setattr(audits, "OLD_FILES_MAX", 99)

    def add(who: int) -> None:
        mine = Audit(audit.path)  # as another process does
        for n in range(100):
            mine(f"user{who}", f"save {n}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(8)))
    assert sorted(records(audit)) == sorted(
        (f"user{w}", f"save {n}") for w in range(8) for n in range(100)
    )
    small = [
        file for file in Path(audit.path).parent.glob("audit.*") if file.stat().st_size <= 2000
    ]
    assert small == []  # none was put aside twice


def test_what_one_user_is_refused_is_told_so_often_and_then_counted(audit: Audit) -> None:
    refusals = Refusals(audit)
    for n in range(REFUSED_MAX + 7):
        refusals("mallory", f"refused {n}")
    refusals("glenda", "refused x")
    audit("mallory", "spawn y")
    assert records(audit) == [
        *(("mallory", f"refused {n}") for n in range(REFUSED_MAX)),
        ("glenda", "refused x"),
        ("mallory", "spawn y"),
    ]
    refusals.turn()
    refusals.turn()
    assert records(audit)[REFUSED_MAX + 2 :] == [("mallory", "7 more refused, left out here")]
    refusals("mallory", "refused again")
    assert records(audit)[-1] == ("mallory", "refused again")


@pytest.fixture
def service(audit: Audit, tmp_path: Path) -> RequestService:
    queue = Queue(str(tmp_path / "requests"))
    return RequestService(queue, GridHubs(lambda: None), audit, Refusals(audit))


async def test_a_thousand_refused_requests_leave_out_none_that_was_taken(
    service: RequestService, audit: Audit
) -> None:
    for n in range(1000):
        with pytest.raises(BadWord):
            await service.take("mallory", ("spawn", f'"{n}'), "")
        if n % 100 == 0:
            await service.take("mallory", ("spawn", str(n)), "")
            await service.take("glenda", ("save", str(n)), "")
    found = records(audit)
    for user, what in (("mallory", "spawn"), ("glenda", "save")):
        assert [w for u, w in found if u == user and w.startswith(what)] == [
            f"{what} {n}" for n in range(0, 1000, 100)
        ]
    assert len(found) == 20 + REFUSED_MAX
    assert os.stat(audit.path).st_size < 10_000


async def test_a_request_that_is_asked_again_is_no_other_line(
    service: RequestService, audit: Audit
) -> None:
    for _ in range(3):
        await service.take("glenda", ("whoami",), "aa" * 16)
    assert records(audit) == [("glenda", "whoami")]


async def test_who_asks_too_much_is_told_so(
    service: RequestService, audit: Audit, monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    import trio

    monkeypatch.setattr(requests, "REQUESTS_MAX", 3)
    queue = service._queue
    limited = RequestService(queue, service._hubs, audit, Refusals(audit))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(limited.run)
        for _ in range(3):
            await limited.take("glenda", ("whoami",), "")
        with pytest.raises(RequestFailed, match="3 requests in 60 s are the limit"):
            await limited.take("glenda", ("whoami",), "")
        await limited.take("bob", ("whoami",), "")
        await trio.sleep(61)
        await limited.take("glenda", ("whoami",), "")
        nursery.cancel_scope.cancel()
    assert records(audit)[3] == ("glenda", "refused: 3 requests in 60 s are the limit: whoami")
