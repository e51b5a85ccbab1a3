"""Ids shifted by the file system, for kernels that cannot map them: the same inside, stored unshifted."""

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fossil_fs.ids import ACLS, CAPABILITY, NOBODY, Shift
from spawngrid.environment.doctor import maps_ids
from spawngrid.environment.interface import Limits
from tests.spawngrid.environment.machine import Machine

BASE = 0x40000000
SHIFT = Shift(BASE, 65536)


@given(st.integers(0, 65535))
def test_ids_go_out_and_in(number: int) -> None:
    assert SHIFT.out(number) == BASE + number
    assert SHIFT.into(BASE + number) == number


def test_what_has_no_number() -> None:
    assert SHIFT.out(65536) == NOBODY
    for number in (0, BASE - 1, BASE + 65536):
        with pytest.raises(OSError, match="no number"):
            SHIFT.into(number)


@given(
    st.lists(st.tuples(st.sampled_from([1, 2, 4, 8, 16, 32]), st.integers(0, 7), st.integers(0, 9)))
)
def test_acls(entries: list[tuple[int, int, int]]) -> None:
    inside = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    outside = SHIFT.value_out(ACLS[0], inside)
    assert SHIFT.value_into(ACLS[0], outside) == inside
    for (tag, _, number), (_, _, seen) in zip(
        entries, struct.iter_unpack("<HHI", outside[4:]), strict=True
    ):
        assert seen == (BASE + number if tag in (2, 8) else number)


def test_capabilities_name_their_owner_outside() -> None:
    inside = bytes.fromhex("0100000200040000000000000000000000000000")
    outside = SHIFT.value_out(CAPABILITY, inside)
    assert outside == bytes.fromhex("0100000300040000000000000000000000000000") + struct.pack(
        "<I", BASE
    )
    assert SHIFT.value_into(CAPABILITY, outside) == inside
    assert SHIFT.value_into(b"user.x", b"any") == SHIFT.value_out(b"user.x", b"any") == b"any"


@pytest.mark.root
@pytest.mark.fuse
def test_an_environment_with_shifted_ids(machine: Machine, limits: Limits | None) -> None:
    node = machine.another(shift_ids=True)
    env = node.start(machine.spec(limits=limits))
    try:
        script = "mkdir /d && echo x > /d/own && echo y > /d/given && chown 1000:1001 /d/given"
        told = machine.sh(env, script)
        assert (told.status, told.err) == (0, "")
        assert machine.sh(env, "stat -c %u:%g /d/own /d/given /bin").out == "0:0\n1000:1001\n0:0\n"
        assert "idmapped" not in machine.sh(env, "mount").out.splitlines()[0]
        inside = f"/proc/{env.init_pid}/root/d"
        assert os.stat(f"{inside}/given").st_uid == os.stat(f"{inside}/own").st_uid + 1000
        assert machine.sh(env, "chown 70000 /d/own").status != 0
        saved = node.save(env.id)
    finally:
        node.stop(env.id)
    with machine.spawned(score=saved.score) as again:
        assert machine.sh(again, "stat -c %u:%g /d/own /d/given").out == "0:0\n1000:1001\n"
        mapped = "idmapped" in machine.sh(again, "mount").out.splitlines()[0]
        assert mapped == maps_ids()[0], "where the kernel can, it does"
        assert node.save(again.id).score == saved.score
