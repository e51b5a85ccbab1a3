"""How a machine and the node on it are: facts, services that do not run, what nobody owns."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from spawngrid import files
from spawngrid.attach.admitted import Admitted
from spawngrid.environment.interface import Environments, Finding, Mended
from spawngrid.node import processes
from spawngrid.node.environments import open_environments
from spawngrid.request.ids import is_id
from spawngrid.settings.config import NodeConfig

KINDS: Final = ("mount", "cgroup", "network", "namespace", "process", "record", "hub", "scratch")


@dataclass(frozen=True, slots=True)
class Health:
    findings: tuple[Finding, ...]
    down: tuple[str, ...]
    orphans: tuple[Mended, ...]
    environments: int

    @property
    def good(self) -> bool:
        lacks = any(finding.level == "lacks" for finding in self.findings)
        return not (lacks or self.down or self.orphans)


def look(config: NodeConfig | None) -> Health:
    """Look at this machine, and at its node if it is one; changes nothing."""
    if config is None or not config.is_cpu:
        down = _down(config) if config is not None else ()
        findings = tuple(_machine().doctor()) if config is None else ()
        return Health(findings, down, (), 0)
    environments = open_environments(config)
    running = environments.all()
    orphans = [*environments.orphans(), *_records(config, {e.spec.name for e in running})]
    return Health(tuple(environments.doctor()), _down(config), tuple(orphans), len(running))


def to_json(health: Health) -> dict[str, object]:
    """Return it for programs: how many of each kind were left behind, and everything by name."""
    counts = {kind: sum(1 for o in health.orphans if o.kind == kind) for kind in KINDS}
    return {
        "orphans": counts | {"all": len(health.orphans)},
        "left": [{"kind": o.kind, "name": o.name, "what": o.done} for o in health.orphans],
        "down": list(health.down),
        "environments": health.environments,
        "findings": [
            {"name": f.name, "level": f.level, "fact": f.fact, "remedy": f.remedy}
            for f in health.findings
        ],
    }


def _down(config: NodeConfig) -> tuple[str, ...]:
    services = processes.services_of(config)
    return tuple(s for s in services if not processes.running(config, s).pid)


def _records(config: NodeConfig, running: set[str]) -> list[Mended]:
    """Return admissions to environments that are not there, and records of none on this node."""
    found = [
        Mended("record", admission.environment, "an admission to an environment that is not there")
        for admission in Admitted(config.place("admitted")).all()
        if admission.environment not in running
    ]
    if not config.is_storage:
        return found
    folder = config.place("environments")
    for name in filter(is_id, files.names_in(folder)):
        record = files.read_record(os.path.join(folder, name))
        here = record is not None and record.get("node") == config.name
        if here and record is not None and record.get("state") != "lost" and name not in running:
            found.append(Mended("record", name, "the record of an environment that is not there"))
    return found


def _machine() -> Environments:
    from lib9.places import run_directory, state_directory
    from spawngrid.environment.node import Node

    return Node(run_directory(os.environ), state_directory(os.environ))
