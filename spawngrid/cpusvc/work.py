"""What a cpu node does with its environments when it is told to; each answer is a line of cpu.out."""

from __future__ import annotations

import logging
import threading
from typing import Final

from lib9.errors import SpawngridError
from lib9.faults import fault
from lib9.telling import one_line
from spawngrid import files
from spawngrid.attach.admitted import Admission, Admitted
from spawngrid.environment.interface import Environments, Limits, NoSuchEnvironment, Spec
from spawngrid.hubtexts.from_cpu import WHY_SIZE_MAX
from spawngrid.hubtexts.to_cpu import Admit, Boom, Fetch, Save, users_text
from spawngrid.settings.config import NodeConfig

log = logging.getLogger("cpusvc")

_STATES: Final = ("running", "ended", "stopping")
_UNIT: Final = 1024

Work = Fetch | Save | Boom | Admit


class Worker:
    """Does what is told; any thread may ask. Done again, everything has the same end."""

    def __init__(self, config: NodeConfig, environments: Environments) -> None:
        self._config = config
        self._environments = environments
        self._admitted = Admitted(config.place("admitted"))
        self._ids: dict[str, str] = {}  # id of the request → id of the environment
        self._lock = threading.Lock()

    def mend(self) -> dict[str, str]:
        """Bring what a killed service left into order; return what runs, as `states` does."""
        for mended in self._environments.reconcile():
            log.warning("%s %s: %s", mended.kind, mended.name, mended.done)
        self._environments.prepare()
        states = self.states()
        files.clean(self._admitted.folder)
        for admission in list(self._admitted.all()):
            if admission.environment not in states:
                self._admitted.remove(admission.environment)
        return states

    def states(self) -> dict[str, str]:
        """Return what runs here, by the id of the request that spawned it."""
        found = self._environments.all()
        with self._lock:
            self._ids.update({e.spec.name: e.id for e in found})
        return {e.spec.name: e.state for e in found if e.state in _STATES}

    def answer(self, work: Work) -> str:
        """Do it, and return the line that says what came of it."""
        try:
            match work:
                case Fetch():
                    return self._fetch(work)
                case Save():
                    return self._save(work)
                case Boom():
                    return self._boom(work)
                case Admit():
                    return self._admit(work)
        except (SpawngridError, OSError) as error:
            log.warning("%s %s: %s", type(work).__name__.lower(), work.request, error)
            return f"failed {work.request} {one_line(str(error), WHY_SIZE_MAX)}"
        except Exception:
            log.exception("%s: unexpected error", work)
            return f"failed {work.request} unexpected error on {self._config.name}"

    def _fetch(self, fetch: Fetch) -> str:
        if fetch.id in self.states():
            return f"ready {fetch.id}"
        fault("cpusvc.before-start")
        self._admitted.keep(Admission(fetch.id, fetch.alias, ((fetch.user, fetch.key),)))
        try:
            fault("cpusvc.admitted")
            environment = self._environments.start(spec_of(fetch, self._config.store))
            fault("cpusvc.started")
        except BaseException:
            self._admitted.remove(fetch.id)
            raise
        with self._lock:
            self._ids[fetch.id] = environment.id
        return f"ready {fetch.id}"

    def _save(self, save: Save) -> str:
        fault("cpusvc.before-save")
        saved = self._environments.save(self._id_of(save.environment))
        fault("cpusvc.saved")
        pause = round(saved.pause_seconds * 1000)
        frozen = "" if saved.frozen else " frozen=0"
        return f"saved {save.request} {saved.score} pause={pause}{frozen}"

    def _boom(self, boom: Boom) -> str:
        fault("cpusvc.before-stop")
        try:
            self._environments.stop(self._id_of(boom.environment))
        except NoSuchEnvironment:
            log.info("%s: there was none", boom.environment)
        fault("cpusvc.stopped")
        self._admitted.remove(boom.environment)
        with self._lock:
            self._ids.pop(boom.environment, None)
        return f"boomed {boom.environment}"

    def _admit(self, admit: Admit) -> str:
        if not self._admitted.change(admit.environment, admit.users):
            raise NoSuchEnvironment(f"{admit.environment}: no such environment here")
        return f"admitted {admit.request} users={users_text(admit.users)}"

    def _id_of(self, request_id: str) -> str:
        with self._lock:
            known = self._ids.get(request_id)
        if known is not None:
            return known
        self.states()
        with self._lock:
            if request_id not in self._ids:
                raise NoSuchEnvironment(f"{request_id}: no such environment here")
            return self._ids[request_id]


def spec_of(fetch: Fetch, store: str) -> Spec:
    """Return what is to be started."""
    options = fetch.options
    plain = Limits()
    limits = Limits(
        int(options.get("memory", plain.memory_bytes)),
        float(options.get("cpus", plain.cpus)),
        int(options.get("pids", plain.pids)),
    )
    size = options.get("disk") or options.get("ram")
    network = options.get("network", "none")
    return Spec(
        name=fetch.id,
        user=fetch.user,
        score=fetch.score,
        store=store,
        scratch_bytes=int(size) if size else 100 << 20,
        scratch_on_disk="disk" in options,
        limits=None if options.get("limits") == "none" else limits,
        network="host" if network == "host" else "nat" if network == "nat" else "none",
        hostname=_hostname(fetch.alias),
    )


def memory_bytes() -> tuple[int, int]:
    """Return the memory of this machine that is free for use, and all of it."""
    found = {}
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            name, _, rest = line.partition(":")
            found[name] = int(rest.split()[0]) * _UNIT
    return found["MemAvailable"], found["MemTotal"]


def _hostname(alias: str) -> str:
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in alias)
    return plain.strip("-")[:63] or "grid"
