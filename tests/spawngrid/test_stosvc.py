"""The dispatcher of a storage node: what follows from what, without hubs or files."""

from dataclasses import dataclass, field

import pytest

from lib9.errors import Exit
from spawngrid.request.ids import new_id
from spawngrid.request.queue import Request
from spawngrid.settings.rules import Rules
from spawngrid.stosvc.dispatch import RESEND_SECONDS, SILENT_SECONDS_MAX, Dispatcher
from spawngrid.stosvc.effects import Effect, End, Forget, Keep, Record, Say, Share, Tell
from spawngrid.stosvc.grid import NODE_SECONDS_MAX, Grid
from spawngrid.stosvc.spawning import fetch_line
from spawngrid.stosvc.state import SILENCE_SECONDS_MAX, Environment, Named, environment_of

KEYS = {"glenda": "ed25519:aa", "bob": "ed25519:bb"}
SCORE = "vac:" + "ab" * 32


@dataclass
class Book:
    names: dict[tuple[str, str], str] = field(
        default_factory=lambda: {("glenda", "clean"): SCORE, ("bob", "his"): SCORE}
    )

    def find(self, user: str, name: str) -> Named | None:
        score = self.names.get((user, name))
        return Named(f"{name}.00", score, 7) if score else None

    def visible(self, user: str) -> list[Named]:
        return [Named(f"{n}.00", s, 7) for (u, n), s in self.names.items() if u == user]


class Sto:
    """A dispatcher with the clock in the test's hand, and everything it did."""

    def __init__(
        self, environments: tuple[Environment, ...] = (), rules: Rules | None = None
    ) -> None:
        self.now = 100.0
        self.book = Book()
        grid = Grid(self.book, KEYS.get, rules or Rules(), environments, now=self.now)
        self.dispatcher = Dispatcher(grid)
        self.count = 0

    def ask(self, user: str, *words: str) -> tuple[str, list[Effect]]:
        self.count += 1
        request = Request(new_id(10**18, self.count), user, words, 1)
        return request.id, self.dispatcher.request(request, now=self.now, time=50)

    def here(self, node: str = "cpu1", free: int = 8 << 30, **environments: str) -> list[Effect]:
        listed = ",".join(f"{i.removeprefix('e')}:{s}" for i, s in environments.items())
        return self.say(
            f"here {node} free={free} total={16 << 30} dial=noise!{node}!1 key=ed25519:cc"
            f" environments={listed}"
        )

    def say(self, text: str) -> list[Effect]:
        return self.dispatcher.cpu_said(text, now=self.now)

    def tick(self, seconds: float) -> list[Effect]:
        self.now += seconds
        return self.dispatcher.tick(now=self.now, time=50)

    def spawned(self, user: str = "glenda", name: str = "clean", *more: str) -> str:
        request, _ = self.ask(user, "spawn", name, *more)
        assert End(request) in self.say(f"ready {request}")
        return request


def failed(effects: list[Effect]) -> tuple[Exit, str]:
    [end] = [e for e in effects if isinstance(e, End)]
    assert end.status
    return end.status, end.text


def told(effects: list[Effect]) -> list[str]:
    return [str(e.line) for e in effects if isinstance(e, Tell)]


def test_spawn_is_kept_before_a_node_is_told() -> None:
    sto = Sto()
    sto.here()
    request, effects = sto.ask("glenda", "spawn", "clean", "disk=1G")
    kept, tell = [e for e in effects if isinstance(e, Keep | Tell)]
    assert isinstance(kept, Keep)
    assert kept.environment.state == "starting"
    assert isinstance(tell, Tell)
    assert str(tell.line) == (
        f"fetch {request} clean glenda {SCORE} node=cpu1 as=clean key=ed25519:aa"
        f" disk={1 << 30} network=nat"
    )
    effects = sto.say(f"ready {request}")
    assert effects == [
        Keep(sto.dispatcher.grid.environments[request]),
        Say(request, "clean serving on cpu cpu1"),
        End(request),
    ]
    assert sto.dispatcher.grid.environments[request].state == "running"
    assert sto.say(f"ready {request}") == []


def test_a_record_is_what_it_was_made_of() -> None:
    environment = Environment(
        new_id(1, 2), "glenda", "b", "clean~1", SCORE, "cpu1", "lost", 9,
        {"disk": "1", "network": "nat"}, ("bob", "ann"), "no longer on cpu1",
    )  # fmt: skip
    from ndbdb.parser import parse

    assert environment_of(next(parse(environment.to_bytes().decode()))) == environment


def test_the_node_with_most_memory_less_what_is_promised() -> None:
    sto = Sto()
    sto.here("cpu1", 3 << 30)
    sto.here("cpu2", 2 << 30)
    chosen = []
    for number in range(4):
        request, effects = sto.ask("glenda", "spawn", "clean", f"as=e{number}", "memory=1G")
        chosen.append(sto.dispatcher.grid.environments[request].node)
        assert told(effects)
    assert chosen == ["cpu1", "cpu2", "cpu1", "cpu2"]
    request, effects = sto.ask("glenda", "spawn", "clean", "as=e9", "memory=4G")
    assert effects == []
    assert failed(sto.tick(NODE_SECONDS_MAX)) == (Exit.FAILED, "no cpu node has room")
    request, effects = sto.ask("glenda", "spawn", "clean", "as=e8", "node=cpu1")
    assert "node=cpu1" in told(effects)[0]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("spawn", "nothing"), "nothing not found for glenda"),
        (("spawn", "his"), "his not found for glenda"),
        (("spawn",), "spawn SCORENAME"),
        (("spawn", "clean", "more"), "spawn SCORENAME"),
        (("spawn", "../clean"), "'../clean' cannot be a name"),
        (("spawn", "clean", "as=../x"), "cannot be a name"),
        (("spawn", "clean", "network=host"), "this grid gives nat, none"),
        (("spawn", "clean", "limits=none"), "this grid does not give that"),
        (("spawn", "clean", "memory=900G"), "memory=900G"),
        (("spawn", "clean", "root=/"), "root= is no option"),
        (("save", "clean", "mine"), "clean not owned by glenda"),
        (("boom", "clean"), "clean not owned by glenda"),
        (("invite", "bob", "clean"), "clean not owned by glenda"),
        (("invite", "nobody", "clean"), "clean not owned by glenda"),
        (("share", "nobody", "clean"), "nobody: no such user"),
        (("share", "bob", "his"), "his not found for glenda"),
        (("where", "clean"), "no such environment of glenda"),
        (("diff", "clean", "his"), "his not found for glenda"),
        (("fetch", "clean"), "unknown command"),
        (("list",), "unknown command"),
    ],
)  # fmt: skip
def test_what_is_refused(words: tuple[str, ...], text: str) -> None:
    sto = Sto()
    sto.here()
    _, effects = sto.ask("glenda", *words)
    assert text in failed(effects)[1]
    assert not told(effects)
    assert not sto.dispatcher.grid.environments


def test_what_is_another_users_is_not_there() -> None:
    sto = Sto()
    sto.here()
    sto.spawned()
    for words in (("save", "clean", "x"), ("boom", "clean"), ("invite", "bob", "clean")):
        _, effects = sto.ask("bob", *words)
        assert failed(effects) == (Exit.NOT_FOUND, "clean not owned by bob")
    for alias in ("clean", "glenda/clean"):
        _, effects = sto.ask("bob", "where", alias)
        assert failed(effects)[0] is Exit.NOT_FOUND
    request, effects = sto.ask("bob", "status")
    assert effects == [Say(request, "active grid namespaces for bob"), End(request)]
    request, effects = sto.ask("bob", "scores")
    assert effects == [Say(request, "his.00"), End(request)]


def test_who_is_invited_may_enter_and_nothing_else() -> None:
    sto = Sto()
    sto.here()
    environment = sto.spawned()
    request, effects = sto.ask("glenda", "invite", "bob", "clean")
    both = "users=glenda/ed25519:aa,bob/ed25519:bb"
    assert told(effects) == [f"admit {request} {environment} node=cpu1 {both}"]
    assert sto.say(f"admitted {request} {both}") == [
        Say(request, "bob may attach clean"),
        End(request),
    ]
    for alias in ("clean", "glenda/clean"):
        request, effects = sto.ask("bob", "where", alias)
        assert isinstance(effects[0], Say)
        assert effects[0].text == (
            f"environment={environment} env=clean owner=glenda node=cpu1 dial=noise!cpu1!1"
            " key=ed25519:cc"
        )
    for words in (("save", "clean", "x"), ("boom", "clean"), ("invite", "bob", "clean")):
        assert failed(sto.ask("bob", *words)[1])[0] is Exit.NOT_FOUND


def test_who_is_no_longer_invited_or_known_is_told_the_node() -> None:
    sto = Sto()
    sto.here()
    environment = sto.spawned()
    request, _ = sto.ask("glenda", "invite", "bob", "clean")
    both = "users=glenda/ed25519:aa,bob/ed25519:bb"
    sto.say(f"admitted {request} {both}")
    assert told(sto.tick(60)) == []
    key = KEYS.pop("bob")
    try:
        alone = f"admit {environment} {environment} node=cpu1 users=glenda/ed25519:aa"
        assert told(sto.tick(60)) == [alone]
        sto.say(f"admitted {environment} {both}")
        assert told(sto.tick(60)) == [alone], "until the node has said so, and of this"
        sto.say(f"admitted {environment} users=glenda/ed25519:aa")
        assert told(sto.tick(60)) == []
    finally:
        KEYS["bob"] = key
    line = f"admit {environment} {environment} node=cpu1 {both}"
    assert told(sto.tick(60)) == [line], "known again, by whatever key"
    sto.say(f"admitted {environment} {both}")
    request, effects = sto.ask("glenda", "uninvite", "bob", "clean")
    assert told(effects) == [f"admit {request} {environment} node=cpu1 users=glenda/ed25519:aa"]
    assert Say(request, "bob may no longer attach clean") in sto.say(
        f"admitted {request} users=glenda/ed25519:aa"
    )
    assert failed(sto.ask("bob", "where", "clean")[1])[0] is Exit.NOT_FOUND
    again = Sto(tuple(sto.dispatcher.grid.environments.values()))
    again.here(**{f"e{environment}": "running"})
    line = f"admit {environment} {environment} node=cpu1 users=glenda/ed25519:aa"
    assert told(again.tick(60)) == [line], "who has just begun does not know what was told"


def test_a_save_is_recorded_under_the_name_that_was_asked_for() -> None:
    sto = Sto()
    sto.here()
    environment = sto.spawned()
    request, effects = sto.ask("glenda", "save", "clean", "mine")
    assert told(effects) == [f"save {request} {environment} node=cpu1"]
    new = "vac:" + "cd" * 32
    assert sto.say(f"saved {request} {new} pause=7") == [
        Record(request, "glenda", "mine", new, SCORE),
        Say(request, "paused 7 ms"),
        Say(request, "mine saved"),
        End(request),
    ]
    assert sto.say(f"saved {request} {new}") == [], "once"


def test_sharing_is_recorded() -> None:
    sto = Sto()
    request, effects = sto.ask("glenda", "share", "bob", "clean")
    assert effects[0] == Share(request, "glenda", "bob", "clean", on=True)
    request, effects = sto.ask("glenda", "unshare", "bob", "clean")
    assert effects[0] == Share(request, "glenda", "bob", "clean", on=False)


def test_what_is_not_answered_is_told_again_and_given_up_when_the_node_is_silent() -> None:
    sto = Sto()
    sto.here()
    request, effects = sto.ask("glenda", "spawn", "clean")
    first = told(effects)
    assert told(sto.tick(RESEND_SECONDS - 1)) == []
    assert told(sto.tick(1)) == first
    effects = sto.tick(SILENT_SECONDS_MAX)
    assert failed(effects) == (Exit.UNREACHABLE, "cpu cpu1 does not answer")
    assert sto.dispatcher.grid.environments[request].state == "booming"
    # it had been started all the same: it is taken away
    effects = sto.here("cpu1", **{f"e{request}": "running"})
    assert told(effects) == [f"boom {request} {request} node=cpu1"]
    assert Forget(request) in sto.say(f"boomed {request}")


def test_a_new_dispatcher_takes_up_what_was_begun() -> None:
    sto = Sto()
    sto.here()
    request, _ = sto.ask("glenda", "spawn", "clean")
    kept = sto.dispatcher.grid.environments[request]
    again = Sto((kept,))
    asked = Request(request, "glenda", ("spawn", "clean"), 1)
    assert told(again.dispatcher.start()) == ["who"]
    effects = again.dispatcher.request(asked, now=100, time=1)
    assert told(effects) == told([Tell(fetch_line(sto.dispatcher.grid, kept))])
    assert End(request) in again.say(f"ready {request}")
    # and once more, killed between the record and the answer
    third = Sto((again.dispatcher.grid.environments[request],))
    effects = third.dispatcher.request(asked, now=100, time=1)
    assert End(request) in effects
    assert not told(effects)


def test_records_agree_with_what_nodes_run() -> None:
    sto = Sto()
    sto.here()
    request = sto.spawned()
    stranger = new_id(5, 5)
    effects = sto.here("cpu1", **{f"e{request}": "ended", f"e{stranger}": "running"})
    assert told(effects) == [f"boom {stranger} {stranger} node=cpu1"]
    assert sto.dispatcher.grid.environments[request].state == "ended"
    assert told(sto.here("cpu1", **{f"e{request}": "ended", f"e{stranger}": "running"})) == []
    sto.here("cpu2")
    assert sto.dispatcher.grid.environments[request].state == "ended", "another node's silence"
    sto.here("cpu1")
    assert sto.dispatcher.grid.environments[request].state == "lost"
    sto.here("cpu1", **{f"e{request}": "running"})
    assert sto.dispatcher.grid.environments[request].state == "running"


def test_boom_is_done_when_the_node_says_so() -> None:
    sto = Sto()
    sto.here()
    environment = sto.spawned()
    request, effects = sto.ask("glenda", "boom", "clean")
    assert told(effects) == [f"boom {request} {environment} node=cpu1"]
    _, effects = sto.ask("glenda", "save", "clean", "x")
    assert failed(effects)[0] is Exit.NOT_FOUND
    effects = sto.say(f"boomed {environment}")
    assert effects == [Say(request, "clean BOOMed"), End(request), Forget(environment)]
    assert not sto.dispatcher.grid.environments


def test_a_failed_spawn_leaves_no_record() -> None:
    sto = Sto()
    sto.here()
    request, _ = sto.ask("glenda", "spawn", "clean")
    effects = sto.say(f"failed {request} there is no /bin/sh in this root")
    assert effects == [
        Forget(request),
        End(request, Exit.FAILED, "there is no /bin/sh in this root"),
    ]


def test_no_limits_and_a_limit() -> None:
    """What was asked for is not dropped in silence."""
    sto = Sto(rules=Rules(unlimited=True))
    sto.here()
    for limit in ("memory=1G", "cpus=1", "pids=9"):
        asked = sto.ask("glenda", "spawn", "clean", "limits=none", limit)[1]
        assert failed(asked)[0] is Exit.USAGE
    sto.spawned("glenda", "clean", "limits=none")


def test_limits_of_a_user() -> None:
    sto = Sto(rules=Rules(spawn_max=2))
    sto.here()
    sto.spawned("glenda", "clean", "as=a")
    assert "already being served" in failed(sto.ask("glenda", "spawn", "clean", "as=a")[1])[1]
    sto.spawned("glenda", "clean", "as=b")
    assert failed(sto.ask("glenda", "spawn", "clean", "as=c")[1])[1] == "spawn limit reached"
    sto.spawned("bob", "his", "as=a")


def test_a_spawn_waits_for_a_node() -> None:
    sto = Sto()
    request, effects = sto.ask("glenda", "spawn", "clean")
    assert effects == []
    assert sto.dispatcher.knows(request)
    assert told(sto.here())[0].startswith(f"fetch {request} ")
    sto.now += SILENCE_SECONDS_MAX
    request, effects = sto.ask("glenda", "spawn", "clean", "as=b")
    assert failed(sto.tick(NODE_SECONDS_MAX) or effects)[1] in (
        "no cpu node is here",
        "cpu cpu1 does not answer",
    )


@pytest.mark.parametrize(
    "text",
    ["", "ready", "ready x", "here cpu1", "boomed ../x", "saved 1 2", "fetch", "ready " + "0" * 17],
)
def test_what_makes_no_sense_is_told_the_operator(text: str) -> None:
    [effect] = Sto().say(text)
    assert type(effect).__name__ == "Complain"
