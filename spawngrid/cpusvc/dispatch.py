"""What follows from a line of cpu.in. Pure.

Lines may come again, for whoever wrote them cannot know what was read: what is being done is not
begun twice, and what was done is answered again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from spawngrid.hubtexts import to_cpu
from spawngrid.hubtexts.from_cpu import Here, format_here
from spawngrid.hubtexts.to_cpu import Admit, Boom, Fetch, Save, Who

ANSWERS_MAX: Final = 1024  # answers that are kept for who asks again
UNDER_WAY_MAX: Final = (
    64  # a line that comes while so much is being done is left for its repetition
)
FREE_RESERVE: Final = 64 << 20  # bytes of memory that are not offered to environments

Work = Fetch | Save | Boom | Admit


@dataclass(slots=True)
class Dispatcher:
    """The state machine of a cpu node; `environments` are those it runs, with their states."""

    node: str
    dial: str
    key: str
    environments: dict[str, str] = field(default_factory=dict)
    under_way: dict[str, Work] = field(default_factory=dict)
    _answers: OrderedDict[str, str] = field(default_factory=OrderedDict)
    _changed: dict[str, int] = field(default_factory=dict)  # environment → the step it changed in
    _step: int = 0

    def line(self, text: str) -> tuple[list[str], Work | None, bool]:
        """Take a line of cpu.in: what is answered at once, what is to be done, whether to say `here`.

        Lines for other nodes do nothing. BadWord for what is no line.
        """
        asked = to_cpu.parse(text)
        if isinstance(asked, Who):
            return [], None, True
        if asked.node != self.node:
            return [], None, False
        if isinstance(asked, Fetch) and asked.id in self.environments:
            return [f"ready {asked.id}"], None, False
        if isinstance(asked, Boom):
            self._answers.pop(asked.environment, None)
            if asked.environment not in self.environments and not self._starting(asked.environment):
                return [f"boomed {asked.environment}"], None, False
        if isinstance(asked, Admit):
            return [], asked, False  # done again, whenever it comes: who may enter changes
        if asked.request in self._answers:
            return [self._answers[asked.request]], None, False
        if self._is_left(asked):
            return [], None, False
        self.under_way[asked.request] = asked
        return [], asked, False

    def _is_left(self, asked: Work) -> bool:
        """Tell whether a line is left for its repetition: it is being done, or cannot be done yet."""
        if asked.request in self.under_way or len(self.under_way) >= UNDER_WAY_MAX:
            return True
        return isinstance(asked, Boom) and self._starting(asked.environment)

    def done(self, work: Work, answer: str) -> str:
        """Take note that `work` is done, and return the line that says so."""
        if isinstance(work, Admit):
            return answer
        self.under_way.pop(work.request, None)
        self._step += 1
        if isinstance(work, Fetch) and answer.startswith("ready "):
            self.environments[work.id] = "running"
            self._changed[work.id] = self._step
        elif isinstance(work, Boom):
            self.environments.pop(work.environment, None)
            self._changed[work.environment] = self._step
        if not isinstance(work, Boom):
            self._answers[work.request] = answer
            if len(self._answers) > ANSWERS_MAX:
                self._answers.popitem(last=False)
        return answer

    def step(self) -> int:
        """Return a mark: what changes from now on is newer than a look that begins now."""
        return self._step

    def seen(self, begun: int, environments: Mapping[str, str]) -> bool:
        """Take what a look found that began at the mark `begun`; tell whether anything is new."""
        before = dict(self.environments)
        fresh = {i for i, step in self._changed.items() if step > begun}
        kept = {i: s for i, s in self.environments.items() if i in fresh}
        self.environments = {i: s for i, s in environments.items() if i not in fresh} | kept
        self._changed = {i: step for i, step in self._changed.items() if step > begun}
        return self.environments != before

    def here(self, free: int, total: int) -> str:
        """Return the line that says what this node is and runs."""
        offered = max(0, free - FREE_RESERVE)
        return format_here(
            Here(self.node, offered, total, self.dial, self.key, dict(self.environments))
        )

    def _starting(self, environment: str) -> bool:
        return isinstance(self.under_way.get(environment), Fetch)
