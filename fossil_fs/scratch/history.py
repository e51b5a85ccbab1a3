"""What snapshots still see: values put aside just before they change for the first time after one.

A snapshot is an *epoch* that ended: a number, larger than all before. Making one copies nothing. From
then on, the first change of a key puts its value aside under the newest epoch; an epoch sees the
value put aside under the smallest number that is not below its own, else the present one. So a
snapshot costs nothing when it is made and, later, what was changed since.

What is put aside is no part of the journal's records: replaying the same changes puts it aside again.
"""

import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from fossil_fs.scratch.errors import ScratchDamaged

KEPT: Final = frozenset(b"idcxl")  # first bytes of keys that a snapshot sees
_PAST: Final = b"h"
_INDEX: Final = b"e"
_EPOCH: Final = b"p"
_NUMBER: Final = struct.Struct(">Q")  # its first byte is 0, which no name has: see `put_aside`
_HERE, _ABSENT = b"\1", b"\0"
_RECORD: Final = struct.Struct("<qQHH")
PAGE: Final = 4096


class Epoch(NamedTuple):
    """An ended epoch. `name`: `yyyy/mmdd/hhmm[.n]`; `base`: the score that the scratch stood on.

    Layers up to number `layers` may be what it sees: they are not written any more.
    """

    number: int
    time_ns: int
    layers: int
    base: str
    name: bytes


def epoch_key(number: int) -> bytes:
    return _EPOCH + _NUMBER.pack(number)


def pack_epoch(epoch: Epoch) -> bytes:
    base = epoch.base.encode()
    fixed = _RECORD.pack(epoch.time_ns, epoch.layers, len(base), len(epoch.name))
    return fixed + base + epoch.name


def unpack_epoch(rest: bytes, value: bytes) -> Epoch:
    """Return the epoch in a key's rest and its value; ScratchDamaged when it cannot be one."""
    try:
        (number,) = _NUMBER.unpack(rest)
        time_ns, layers, base, name = _RECORD.unpack_from(value)
        if len(value) != _RECORD.size + base + name:
            raise ScratchDamaged("a snapshot of its metadata has a wrong length")
        at = _RECORD.size + base
        return Epoch(number, time_ns, layers, value[_RECORD.size : at].decode(), value[at:])
    except (struct.error, ValueError) as error:
        raise ScratchDamaged("a snapshot of its metadata makes no sense") from error


def past_key(key: bytes, number: int) -> bytes:
    """Return where the value of `key` is that epoch `number` saw."""
    return _PAST + key + _NUMBER.pack(number)


def index_key(number: int, key: bytes) -> bytes:
    """Return the key that says: epoch `number` has a value put aside for `key`."""
    return _INDEX + _NUMBER.pack(number) + key


def pack_past(value: bytes | None) -> bytes:
    return _ABSENT if value is None else _HERE + value


def unpack_past(data: bytes) -> bytes | None:
    return None if data[:1] == _ABSENT else data[1:]


def newest_epoch(transaction: Any) -> int:
    """Return the number of the last snapshot that is there; 0: none is."""
    cursor = transaction.cursor()
    found = cursor.prev() if cursor.set_range(bytes((_EPOCH[0] + 1,))) else cursor.last()
    key = cursor.key() if found else b""
    return int(_NUMBER.unpack(key[1:])[0]) if key[:1] == _EPOCH else 0


def seen_by(transaction: Any, key: bytes, number: int) -> tuple[int, bytes] | None:
    """Return under which epoch the value is put aside that epoch `number` sees, and it; None: present.

    Keys of one value's epochs lie together: behind a key comes the 0 of the number, and longer keys
    with the same beginning go on with a byte of a name, which is not 0.
    """
    place = _PAST + key
    cursor = transaction.cursor()
    if not cursor.set_range(place + _NUMBER.pack(number)):
        return None
    found = cursor.key()
    if len(found) != len(place) + _NUMBER.size or not found.startswith(place):
        return None
    return int(_NUMBER.unpack(found[len(place) :])[0]), cursor.value()


def put_aside(transaction: Any, key: bytes, number: int) -> int:
    """Keep the value of `key`, about to change, for epoch `number`; return the bytes this took."""
    if seen_by(transaction, key, number) is not None:
        return 0
    value = pack_past(transaction.get(key))
    transaction.put(past_key(key, number), value)
    transaction.put(index_key(number, key), b"")
    return 2 * PAGE + len(value)


def past_values(transaction: Any, key: bytes) -> Iterator[tuple[int, bytes]]:
    """Give (epoch, packed value) of everything put aside for a key, oldest first."""
    number = 0
    while (found := seen_by(transaction, key, number)) is not None:
        yield found
        number = found[0] + 1


def scan_past(
    transaction: Any, prefix: bytes, after: bytes, number: int
) -> Iterator[tuple[bytes, bytes]]:
    """Give (rest of key, packed value) of what epoch `number` sees put aside below `prefix`, sorted."""
    place = _PAST + prefix
    cursor = transaction.cursor()
    last: bytes | None = None
    if not cursor.set_range(place + after):
        return
    for found, value in cursor:
        if not found.startswith(place):
            return
        rest, epoch = found[len(place) : -_NUMBER.size], found[-_NUMBER.size :]
        if rest == last or (rest <= after and after) or _NUMBER.unpack(epoch)[0] < number:
            continue
        last = rest
        yield rest, value
