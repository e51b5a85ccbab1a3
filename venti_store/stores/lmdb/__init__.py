"""A store in an LMDB environment: an append-only log of records, and an index over it."""

from venti_store.stores.lmdb.environment import create
from venti_store.stores.lmdb.store import LmdbStore

__all__ = ["LmdbStore", "create"]
