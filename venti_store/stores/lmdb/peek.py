"""Is a block here, and which name came last? Answered without what reading and writing blocks needs."""

from venti_store.interfaces import Key
from venti_store.score import Family
from venti_store.stores.lmdb.environment import KIND_BYTE, NUMBER, acquire, release, store_errors


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


def last_name(path: str) -> tuple[str, int]:
    """Return a store's id and the number in its log of the last name record, 0 if there is none.

    Raises as `holds`.
    """
    environment = acquire(path)
    try:
        with store_errors(path), environment.env.begin() as txn:
            cursor = txn.cursor(environment.names)
            number = int(NUMBER.unpack(cursor.key())[0]) if cursor.last() else 0
            return environment.store_id, number
    finally:
        release(environment)
