import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.venti_store.hashtree.support import families
from venti_store.errors import TreeTooLarge
from venti_store.hashtree import shape
from venti_store.hashtree.layout import BLOCK_SIZE_MIN, pack_big, unpack_big
from venti_store.score import BLAKE3, SHA1, Family


@pytest.mark.parametrize(
    ("leaves", "depth"),
    [(0, 0), (1, 0), (2, 1), (409, 1), (410, 2), (409**2, 2), (409**2 + 1, 3), (409**3 + 1, 4)],
)
def test_depth_grows_when_a_level_is_full(leaves: int, depth: int) -> None:
    assert shape.depth_for(leaves, shape.fan_out(8192, 20)) == depth


@given(leaf=st.integers(0, 2**40), fan=st.integers(2, 3000), more=st.integers(0, 2))
def test_a_path_leads_to_its_leaf(leaf: int, fan: int, more: int) -> None:
    slots = shape.path(leaf, fan, shape.depth_for(leaf + 1, fan) + more)
    back = 0
    for slot in slots:
        assert 0 <= slot < fan
        back = back * fan + slot
    assert back == leaf


@pytest.mark.parametrize(
    ("family", "size", "psize", "dsize"),
    [
        (BLAKE3, 2**48 - 1, 8192, 65536),
        (BLAKE3, 8**7 * 256, 256, 256),
        (SHA1, 2**31 * 8192, 8180, 8192),
        (SHA1, 12**7 * 256, 256, 256),
    ],
)
def test_the_largest_stream_and_one_byte_more(
    family: Family, size: int, psize: int, dsize: int
) -> None:
    assert shape.needed_depth(family, size, psize, dsize) <= 7
    with pytest.raises(TreeTooLarge, match="more than a hash tree can hold"):
        shape.needed_depth(family, size + 1, psize, dsize)


@given(family=families, slots=st.integers(0, 2**33), dsize=st.integers(BLOCK_SIZE_MIN, 9000))
def test_a_directory_s_size_tells_its_slots(family: Family, slots: int, dsize: int) -> None:
    size = shape.directory_size(slots, dsize, 20 + family.size)
    assert shape.slot_count(size, dsize, 20 + family.size) == slots


def test_the_slots_of_a_classic_directory_are_204_a_block() -> None:
    assert shape.slots_per_leaf(8192, 40) == 204
    assert shape.directory_size(204, 8192, 40) == 8192
    assert shape.directory_size(205, 8192, 40) == 8192 + 40


@given(st.integers(0, 2**11 - 1), st.integers(0, 31))
def test_eleven_bits_and_a_shift_survive_the_big_form(mantissa: int, shift: int) -> None:
    assert unpack_big(pack_big(mantissa << shift)) == mantissa << shift


def test_a_size_of_twelve_bits_has_no_big_form() -> None:
    assert pack_big(65536) == 1024 << 5 | 6
    assert unpack_big(1 << 5 | 20) == 1 << 20
    with pytest.raises(ValueError, match="2049 bytes"):
        pack_big(2049)
