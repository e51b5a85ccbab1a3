"""What users of a grid may ask for. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """What users may ask for."""

    spawn_max: int = 5  # environments of one user
    memory_max: int = 4 << 30  # bytes
    cpus_max: float = 4.0
    pids_max: int = 4096
    disk_max: int = 16 << 30
    networks: frozenset[str] = frozenset(("none", "nat"))
    unlimited: bool = False  # --limits none
