"""The dispatcher of a cpu node: every line once, however often it comes."""

import pytest

from spawngrid.cpusvc.dispatch import UNDER_WAY_MAX, Dispatcher
from spawngrid.cpusvc.work import spec_of
from spawngrid.errors import BadWord
from spawngrid.hubtexts import from_cpu
from spawngrid.hubtexts.to_cpu import Boom, Fetch, Save
from spawngrid.request.ids import new_id

ONE, TWO, THREE = (new_id(1, n) for n in range(3))
KEY = "ed25519:aa"


def cpu() -> Dispatcher:
    return Dispatcher("cpu1", "noise!h!1", "ed25519:cc")


def fetch(request: str = ONE, node: str = "cpu1") -> str:
    return (
        f"fetch {request} clean glenda vac:ab node={node} as=clean key={KEY} disk=1024 memory=4096"
    )


def test_a_line_is_done_once() -> None:
    node = cpu()
    _, work, _ = node.line(fetch())
    assert work == Fetch(
        ONE, "clean", "glenda", "vac:ab", "cpu1", "clean", KEY, {"disk": "1024", "memory": "4096"}
    )
    assert node.line(fetch()) == ([], None, False)
    assert node.done(work, f"ready {ONE}") == f"ready {ONE}"
    assert node.line(fetch()) == ([f"ready {ONE}"], None, False)
    save = f"save {TWO} {ONE} node=cpu1"
    _, work, _ = node.line(save)
    assert work == Save(TWO, ONE, "cpu1")
    node.done(work, f"saved {TWO} vac:cd")
    assert node.line(save) == ([f"saved {TWO} vac:cd"], None, False)


def test_what_is_another_nodes_is_left_alone() -> None:
    assert cpu().line(fetch(node="cpu2")) == ([], None, False)
    assert cpu().line("who") == ([], None, True)


def test_boom_of_what_is_not_there_is_done() -> None:
    node = cpu()
    assert node.line(f"boom {TWO} {ONE} node=cpu1") == ([f"boomed {ONE}"], None, False)
    _, work, _ = node.line(fetch())
    assert node.line(f"boom {TWO} {ONE} node=cpu1") == ([], None, False), "it is being started"
    node.done(work, f"ready {ONE}")
    _, work, _ = node.line(f"boom {TWO} {ONE} node=cpu1")
    assert work == Boom(TWO, ONE, "cpu1")
    node.done(work, f"boomed {ONE}")
    assert node.line(f"boom {TWO} {ONE} node=cpu1") == ([f"boomed {ONE}"], None, False)
    assert not node.environments


def test_a_look_that_is_older_than_a_change_does_not_undo_it() -> None:
    node = cpu()
    begun = node.step()
    _, work, _ = node.line(fetch())
    node.done(work, f"ready {ONE}")
    node.seen(begun, {})
    assert node.environments == {ONE: "running"}
    node.seen(node.step(), {TWO: "ended"})
    assert node.environments == {TWO: "ended"}
    said = from_cpu.parse(node.here(free=1 << 30, total=2 << 30))
    assert isinstance(said, from_cpu.Here)
    assert said.environments == {TWO: "ended"}


def test_a_flood_is_bounded() -> None:
    node = cpu()
    for number in range(UNDER_WAY_MAX):
        assert node.line(fetch(new_id(9, number)))[1] is not None
    assert node.line(fetch(new_id(9, UNDER_WAY_MAX)))[1] is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fetch",
        "fetch x clean glenda vac:ab node=cpu1 as=clean key=k",
        f"fetch {ONE} clean ../x vac:ab node=cpu1 as=clean key=k",
        f"fetch {ONE} clean glenda vac:ab node=cpu1 as=.. key=k",
        f"fetch {ONE} clean glenda vac:ab as=clean key=k",
        f"boom {ONE} .. node=cpu1",
        f"save {ONE} {TWO}",
        f"exec {ONE} {TWO} node=cpu1",
    ],
)
def test_what_is_no_line(text: str) -> None:
    with pytest.raises(BadWord):
        cpu().line(text)


def test_what_is_started() -> None:
    _, work, _ = cpu().line(fetch())
    assert isinstance(work, Fetch)
    spec = spec_of(work, "noise!sto!1")
    assert (spec.name, spec.hostname, spec.store) == (ONE, "clean", "noise!sto!1")
    assert (spec.scratch_bytes, spec.scratch_on_disk, spec.network) == (1024, True, "none")
    assert spec.limits is not None
    assert spec.limits.memory_bytes == 4096
