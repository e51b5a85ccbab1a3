"""What a store holds, from counts kept in every write transaction: no walk is needed."""

import os
from dataclasses import astuple, dataclass

from venti_store.kind import Kind
from venti_store.stores.lmdb.append import COUNTS, Counts
from venti_store.stores.lmdb.environment import KIND_BYTE, Environment, store_errors
from venti_store.stores.lmdb.place import DATA_FILE


@dataclass(frozen=True, slots=True)
class Statistics:
    """Sizes in bytes. `oldest_reader_pid` is 0 when nobody is reading."""

    store_id: str
    hash_name: str
    last_number: int
    counts: dict[Kind | None, Counts]  # None: name records
    file_size: int  # of the disk that the store's file takes
    disk_free: int
    oldest_reader_pid: int
    oldest_reader_behind: int  # transactions since: the pages they freed are pinned

    def total(self) -> Counts:
        return Counts(*(map(sum, zip(*map(astuple, self.counts.values()), strict=True))))


def statistics(environment: Environment) -> Statistics:
    """Return the figures of an open store."""
    e = environment
    e.check_process()
    status = os.stat(os.path.join(e.path, DATA_FILE))
    disk = os.statvfs(e.path)
    with store_errors(e.path):
        pid, behind = _oldest_reader(e)
        with e.env.begin(db=e.counts) as txn:
            counts = {
                kind: Counts(*COUNTS.unpack(txn.get(key, bytes(COUNTS.size))))
                for kind, key in KIND_BYTE.items()
            }
            last = txn.stat(e.log)["entries"]
    return Statistics(
        store_id=e.store_id,
        hash_name=e.family.name,
        last_number=last,
        counts=counts,
        file_size=status.st_blocks * 512,
        disk_free=disk.f_bavail * disk.f_frsize,
        oldest_reader_pid=pid,
        oldest_reader_behind=behind,
    )


def _oldest_reader(environment: Environment) -> tuple[int, int]:
    """Return (pid, transactions behind) of the oldest open read transaction, or (0, 0)."""
    env = environment.env
    env.reader_check()
    readers = []
    for line in env.readers().splitlines():
        words = line.split()  # pid, thread, transaction: a heading, then digits, or - for none
        if len(words) == 3 and words[0].isdigit() and words[2].isdigit():
            readers.append((int(words[2]), int(words[0])))
    if not readers:
        return 0, 0
    oldest, pid = min(readers)
    return pid, max(0, int(env.info()["last_txnid"]) - oldest)
