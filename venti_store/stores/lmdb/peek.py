"""Is a block here? Answered without what reading and writing blocks needs, for commands in a hurry."""

from venti_store.interfaces import Key
from venti_store.score import Family
from venti_store.stores.lmdb.environment import KIND_BYTE, acquire, release, store_errors


def holds(path: str, family: Family, key: Key) -> bool:
    """Tell whether the store at `path` has a block, unread and not verified.

    Raises as opening the store does: StoreMissing, StoreError, HashMismatch. The store is closed again.
    """
    environment = acquire(path, family)
    try:
        with store_errors(path), environment.env.begin(db=environment.index) as txn:
            return txn.get(key.score + KIND_BYTE[key.kind]) is not None
    finally:
        release(environment)
