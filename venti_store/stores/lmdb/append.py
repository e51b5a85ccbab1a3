"""One write transaction: a group of records becomes the tail of the log, and the index follows."""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from operator import add
from typing import Final

import lmdb

from venti_store.codec import BadRecord, verified
from venti_store.kind import Kind
from venti_store.stores.lmdb.environment import KIND_BYTE, NUMBER, Environment
from venti_store.stores.lmdb.reader import header_for, last_number
from venti_store.stores.lmdb.verified import Verified


@dataclass(slots=True)
class Item:
    """A record on its way into the log. `bad_number` is the copy known to be rotten, 0 if none."""

    name: bytes  # its key in the index
    record: bytes
    size: int  # of the block, uncompressed
    bad_number: int = 0


@dataclass(slots=True)
class Counts:
    """What a store keeps count of for each kind, in the order of the table `counts`."""

    blocks: int = 0  # records in the log
    size: int = 0  # their bytes, uncompressed
    stored: int = 0  # their bytes in the log, headers too
    again: int = 0  # puts of blocks that were there already
    again_size: int = 0  # their bytes


COUNTS: Final = struct.Struct(">5Q")


def append(
    environment: Environment,
    group: Iterable[Item],
    good: Verified,
    again: Mapping[bytes, tuple[int, int]],
) -> None:
    """Commit the records of `group` that the log lacks. `again`: puts to count, by kind's byte."""
    e = environment
    totals = {
        kind_byte: Counts(again=puts, again_size=size) for kind_byte, (puts, size) in again.items()
    }
    with e.env.begin(write=True, buffers=True) as txn:
        number = last_number(txn, e)
        for item in group:
            total = totals.setdefault(item.name[-1:], Counts())
            if _is_here(txn, e, item, good):
                total.again += 1
                total.again_size += item.size
                continue
            number += 1
            place = NUMBER.pack(number)
            txn.put(place, item.record, db=e.log, append=True)
            txn.put(item.name, place, db=e.index)
            if item.name[-1:] == KIND_BYTE[None]:
                txn.put(place, b"", db=e.names, append=True)
            total.blocks += 1
            total.size += item.size
            total.stored += len(item.record)
        for kind_byte, total in totals.items():
            was = COUNTS.unpack(txn.get(kind_byte, bytes(COUNTS.size), db=e.counts))
            now = map(add, was, astuple(total))
            txn.put(kind_byte, COUNTS.pack(*now), db=e.counts)


def find_good(
    txn: "lmdb.Transaction[memoryview]", environment: Environment, name: bytes, good: Verified
) -> tuple[bool, int]:
    """Look for a good copy of the block `name`: (whether there is one, the number of a bad one or 0).

    A copy that was not verified since the store was opened is verified now.
    """
    place = txn.get(name, db=environment.index)
    if place is None:
        return False, 0
    number: int = NUMBER.unpack(place)[0]
    if number in good:
        return True, 0
    record = txn.get(place, db=environment.log)
    try:
        header = header_for(record, name[:-1], Kind(name[-1]) if name[-1] else None)
        verified(record or b"", header, environment.family)
    except BadRecord:
        return False, number
    good.add(number)
    return True, 0


def _is_here(
    txn: "lmdb.Transaction[memoryview]", environment: Environment, item: Item, good: Verified
) -> bool:
    place = txn.get(item.name, db=environment.index)
    if place is None or NUMBER.unpack(place)[0] == item.bad_number:
        return False
    # put by another process, or repaired by it, since this one looked
    return find_good(txn, environment, item.name, good)[0]
