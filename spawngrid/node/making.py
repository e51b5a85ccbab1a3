"""Making a node: its key, its store, its directories, its two ndb files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from lib9 import keys
from lib9.errors import UsageError
from lib9.places import private_directory
from ndbdb.append import append
from ndbdb.record import Record
from spawngrid import files
from spawngrid.settings.config import CPU, STORAGE, NodeConfig, config_of
from spawngrid.settings.users import RIGHT_OPERATOR

NAMES_RIGHT: Final = "names"
_FOLDERS: Final = ("config/spawngrid", "state", "cache", "data", "log", "requests", "environments")


@dataclass(frozen=True, slots=True)
class Made:
    """What was made."""

    config: NodeConfig
    public: bytes


def make_node(file: str, pairs: list[tuple[str, str]], *, more: str = "") -> Made:
    """Describe a node in `file` and make what it needs; UsageError, FileExistsError.

    `more`: the record of its storage node, if that is another. What is there already is left alone,
    so a run that was interrupted can be repeated.
    """
    lines = [pairs[:1], [p for p in pairs[1:] if p[0] == "role"]]
    lines += [[pair] for pair in pairs[1:] if pair[0] != "role"]
    text = files.record_of(*lines)
    from ndbdb.parser import parse

    config = config_of(next(parse(text.decode(), file)))
    if os.path.exists(file) and files.read_record(file) != next(parse(text.decode())):
        raise UsageError(f"{file}: describes a node already; change it there, or remove it")
    private_directory(config.home)
    for folder in _FOLDERS:
        os.makedirs(config.place(folder), mode=0o700, exist_ok=True)
    if not os.path.exists(config.key_file):
        keys.create(config.key_file)
    identity = keys.load(config.key_file)
    if config.is_storage:
        _make_store(config)
    if not os.path.exists(config.peers_file):
        own = [("sys", config.name), ("dial", config.dial)]
        own += [("pubkey", keys.format_key(identity.public)), ("service", "grid")]
        own += [("right", right) for right in (RIGHT_OPERATOR, "venti", NAMES_RIGHT)]
        append(config.peers_file, [Record.of(*own)])
    if more:
        _add_storage(config, more)
    os.makedirs(os.path.dirname(os.path.abspath(file)), mode=0o755, exist_ok=True)
    files.replace(file, text, mode=0o644)
    return Made(config, identity.public)


def _make_store(config: NodeConfig) -> None:
    from venti_store.score import FAMILIES
    from venti_store.stores.lmdb.environment import create

    if config.hash not in FAMILIES:
        raise UsageError(f"hash={config.hash}: {' or '.join(FAMILIES)}")
    if not os.path.exists(os.path.join(config.store, "data.mdb")):
        create(config.store, FAMILIES[config.hash])


def _add_storage(config: NodeConfig, text: str) -> None:
    from ndbdb.parser import parse
    from venti_store import known

    record = next(parse(f"{text}\n"), None)
    if record is None or known.peers(config.peers_file).by_name(config.storage) is not None:
        return
    append(config.peers_file, [record])


ROLES: Final = (STORAGE, CPU)
