"""Zero truncation: what the end of a block may leave out, and how to put it back.

Leaves lose trailing zero bytes, pointer blocks trailing scores of nothing; so equal contents have
equal scores, and nothing but zeros costs nothing. Source: venti(6).
"""

from venti_store.kind import Kind, level
from venti_store.score import Buffer, Family


def truncate_leaf(data: Buffer) -> Buffer:
    """Return `data` without trailing zero bytes; the same object where there are none."""
    if not len(data) or data[-1]:
        return data
    return (bytes(data) if isinstance(data, memoryview) else data).rstrip(b"\0")


def truncate_pointers(data: Buffer, family: Family) -> bytes:
    """Return `data` without a partial score at its end and without trailing scores of nothing."""
    nothing, size = family.nothing, family.size
    end = len(data) - len(data) % size
    while end and data[end - size : end] == nothing:
        end -= size
    return bytes(data[:end])


def truncate(kind: Kind, data: Buffer, family: Family) -> Buffer:
    """Return what is stored of a whole block. Roots are never shortened."""
    if level(kind):
        return truncate_pointers(data, family)
    return data if kind is Kind.ROOT else truncate_leaf(data)


def extend(kind: Kind, data: Buffer, size: int, family: Family) -> bytes:
    """Return the whole block of `size` bytes whose stored, truncated form is `data`."""
    if level(kind):
        whole = bytes(data[: len(data) - len(data) % family.size])
        whole += family.nothing * ((size - len(whole)) // family.size)
    else:
        whole = bytes(data)
    return whole + bytes(size - len(whole))
