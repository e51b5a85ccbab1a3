"""The sessions recorded from real Plan 9 programs, parsed."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).parent.parent / "data" / "venti"


@dataclass(frozen=True)
class Step:
    """What one side sent; `cut` when the recording kept only the start of a long frame."""

    side: str
    data: bytes
    size: int

    @property
    def cut(self) -> bool:
        return len(self.data) != self.size

    @property
    def whole(self) -> bytes:
        """The bytes sent: long frames were recorded by their start, and repeat their last byte."""
        return self.data + self.data[-1:] * (self.size - len(self.data))


def session() -> list[list[Step]]:
    """The connections of venti-session.txt: real clients against plan9port's server."""
    connections: list[list[Step]] = []
    for line in (DATA / "venti-session.txt").read_text().splitlines():
        if line == "# connection":
            connections.append([])
        elif match := re.match(r"([CS]): ([0-9a-f]+)", line):
            raw = bytes.fromhex(match[2])
            connections[-1].append(Step(match[1], raw, len(raw)))
    return connections


@dataclass(frozen=True)
class Probe:
    """One probe: what was sent, and what plan9port answered: bytes, or a remark."""

    title: str
    sent: Step | None
    answer: Step | None
    remark: str


def probes() -> list[tuple[bytes, list[Probe]]]:
    """The connections of venti-probe.txt: the client's version line, then the probes."""
    connections: list[tuple[bytes, list[Probe]]] = []
    title, sent = "", None
    for line in (DATA / "venti-probe.txt").read_text().splitlines():
        if match := re.match(r"# client line (b'.*?'), server line", line):
            connections.append((ast.literal_eval(match[1]), []))
        elif match := re.match(
            r"  ([CS]): ([0-9a-f]+)(?:\.\.\.\((\d+) bytes\))?(?:  error=.*)?$", line
        ):
            raw = bytes.fromhex(match[2])
            step = Step(match[1], raw, int(match[3] or len(raw)))
            if match[1] == "C":
                sent = step
            else:
                connections[-1][1].append(Probe(title, sent, step, ""))
        elif line.startswith("  S: "):
            connections[-1][1].append(Probe(title, sent, None, line[5:]))
        else:
            title, sent = line, None
            if "send failed" in line:
                connections[-1][1].append(
                    Probe(line.split(":")[0], None, None, "connection closed")
                )
    return connections
