"""The control file: the commands it takes and the status it shows. Pure.

A command is a line: a word, then perhaps the name of one hub; without a name it holds for all hubs
and those to come. The first three lines of the status are those of the original.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from hubfs.errors import BadCommand, NoSuchHub
from hubfs.hub import Hub, Reader
from hubfs.limit import Limiter
from hubfs.namespace import Namespace, Node
from lib9.errors import UsageError
from lib9.sizes import parse_duration, parse_size
from lib9.telling import one_line

COMMAND_SIZE_MAX = 4096  # bytes in one write to ctl
REFUSED_SIZE_MAX = 200  # characters that the status shows of why a command was refused


@dataclass(slots=True)
class Effects:
    """What a command asks of those who wait: readers to end, hubs whose waiters look again, quit."""

    ended: list[Reader] = field(default_factory=list)
    changed: list[Node] = field(default_factory=list)
    quit: bool = False


def run_command(names: Namespace, text: bytes) -> Effects:
    """Carry out the lines of `text`; BadCommand or NoSuchHub, and then nothing was changed.

    The status says why the last command was refused: its writer learns EINVAL only.
    """
    names.refused = ""
    try:
        actions = _parsed(names, text)
    except (BadCommand, NoSuchHub) as error:
        names.refused = one_line(str(error), REFUSED_SIZE_MAX)
        raise
    effects = Effects()
    for action in actions:
        action(effects)
    return effects


def _parsed(names: Namespace, text: bytes) -> list[Callable[[Effects], None]]:
    if len(text) > COMMAND_SIZE_MAX:
        raise BadCommand(f"command of {len(text)} bytes: at most {COMMAND_SIZE_MAX}")
    try:
        lines = [line.split() for line in text.decode().splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise BadCommand("command is not text") from None
    return [_parse(names, words) for words in lines]


def commanded(names: Namespace, text: bytes) -> list[Node] | None:
    """Return the hubs that the lines of `text` name, None if one of them is for all hubs."""
    nodes = []
    for line in text.decode(errors="replace").splitlines():
        if len(words := line.split()) < 2:
            return None
        nodes.append(names.find(words[1]))
    return nodes


def _parse(names: Namespace, words: list[str]) -> Callable[[Effects], None]:
    command, *rest = words
    if command == "quit" and not rest:
        return _quit
    if command == "limit":
        return _limit(names, rest)
    if command == "eof" and len(rest) <= 1:
        return partial(_eof, _targets(names, rest))
    switch = _SWITCHES.get(command)
    if switch is None or len(rest) > 1:
        raise BadCommand(f"bad ctl message: {' '.join(words)[:80]}")
    attribute, value = switch
    return _switch(names, rest, attribute, value)


_SWITCHES = {
    "fear": ("fear", True),
    "calm": ("fear", False),
    "freeze": ("frozen", True),
    "melt": ("frozen", False),
    "trunc": ("only_new", True),
    "notrunc": ("only_new", False),
    "messages": ("messages", True),
    "nomessages": ("messages", False),
}

# every command as people type it, and what it does; the manual has this table
COMMANDS = (
    ("fear [HUB]", "writes wait, 640 ms at most, for slow readers"),
    ("calm [HUB]", "writes do not wait for readers"),
    ("freeze [HUB]", "hubs are plain files, to look at and to edit"),
    ("melt [HUB]", "hubs are hubs again"),
    ("trunc [HUB]", "new readers get only what comes after"),
    ("notrunc [HUB]", "new readers get all that is kept"),
    ("messages HUB", "one read returns what one write wrote"),
    ("nomessages HUB", "a read returns all there is"),
    ("limit HUB RATE [GAP [RESET]]", "bytes a second, least gap, pause that resets"),
    ("limit HUB none", "no limit"),
    ("eof [HUB]", "every reader that waits gets one end of file"),
    ("quit", "readers get end of file, the mount goes away"),
)


def _targets(names: Namespace, rest: list[str]) -> list[Node]:
    return [names.find(rest[0])] if rest else list(names.hubs())


def _hub(node: Node) -> Hub:
    assert node.hub is not None
    return node.hub


def _switch(
    names: Namespace, rest: list[str], attribute: str, value: bool
) -> Callable[[Effects], None]:
    targets = _targets(names, rest)
    if attribute == "messages" and not rest:
        raise BadCommand("bad ctl message: messages and nomessages take the name of a hub")

    def apply(effects: Effects) -> None:
        if not rest:
            setattr(names.settings, attribute, value)
        for node in targets:
            if attribute == "messages":
                _hub(node).set_messages(value)
            else:
                setattr(_hub(node), attribute, value)
        effects.changed += targets

    return apply


def _limit(names: Namespace, rest: list[str]) -> Callable[[Effects], None]:
    """`limit HUB BYTES-A-SECOND [GAP [RESET]]`, `limit HUB none`."""
    if not 2 <= len(rest) <= 4:
        raise BadCommand("bad ctl message: limit HUB BYTES-A-SECOND|none [GAP [RESET]]")
    node = names.find(rest[0])
    limiter: Limiter | None = None
    if rest[1] != "none":
        try:
            rate = parse_size(rest[1])
            gap, reset = [parse_duration(word) for word in rest[2:]] + [0.0, 60.0][len(rest) - 2 :]
        except UsageError as error:
            raise BadCommand(f"bad ctl message: {error}") from None
        if rate < 1:
            raise BadCommand("bad ctl message: a rate is at least one byte a second")
        limiter = Limiter(rate, int(gap * 1e9), reset)

    def apply(_: Effects) -> None:
        node.limiter = limiter

    return apply


def _eof(targets: list[Node], effects: Effects) -> None:
    for node in targets:
        effects.ended += _hub(node).end_of_file()
    effects.changed += targets


def _quit(effects: Effects) -> None:
    effects.quit = True


def status_text(names: Namespace, service: str, more: Iterable[str] = ()) -> bytes:
    """Return what `cat ctl` shows: the three lines of the original, then a line for each hub.

    `bytes` are those kept; `lag` is that of the slowest reader, `lost` the sum over all readers;
    `writer` is who wrote last. Behind them come what was wrong with the last command, and `more`.
    """
    s = names.settings
    lines = [
        f"\tHubfs {service} status (1 is active, 0 is inactive):",
        (
            f"Paranoid == {s.fear:d}  Frozen == {s.frozen:d}  "
            f"Trunc == {s.only_new:d}  Applylimits == {s.limited:d}"
        ),
        f"Buffersize == {s.capacity}",
    ]
    for node in names.hubs():
        hub = _hub(node)
        readers = hub.readers.values()
        lag = max((hub.lag(r) for r in readers), default=0)
        lost = sum(hub.lost(r) for r in readers)
        words = [f"bytes {len(hub)}", f"readers {len(readers)}", f"lag {lag}", f"lost {lost}"]
        words += [
            word
            for word, on in (
                ("fear", hub.fear),
                ("frozen", hub.frozen),
                ("trunc", hub.only_new),
                ("messages", hub.messages),
            )
            if on
        ]
        words += [f"writer {node.writer}"] if node.writer else []
        lines.append(f"{node.path()}: {' '.join(words)}")
    lines += [f"last command refused: {names.refused}"] if names.refused else []
    lines += more
    return ("\n".join(lines) + "\n").encode()
