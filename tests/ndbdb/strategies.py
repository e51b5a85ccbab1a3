"""Records that can be printed, and text that is likely to be odd."""

from hypothesis import strategies as st

from ndbdb.grammar import cut
from ndbdb.record import Line, Pair, Record

_any_character = st.characters(exclude_categories=["Cs"], exclude_characters="\n\0")
_not_utf8 = st.sampled_from(["\udc80", "\udcff", "\udcc3"])
_odd = st.sampled_from(list("\"'#= \t\r=x1é€\x0b\x85\u2028"))
_text = st.text(_any_character | _odd, max_size=40)


def _is_value(value: str) -> bool:
    needs_quotes = value.startswith(("#", '"')) or any(c in " \t\r" for c in value)
    return not (needs_quotes and '"' in value)


attrs = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\n\0= \t\r"), max_size=20
).filter(lambda attr: not attr.startswith("#") and cut(attr) == attr)
values = (_text | st.text(_not_utf8, max_size=1)).filter(_is_value)
pairs = st.builds(Pair, attrs, values)
lines = st.builds(Line, st.lists(pairs, min_size=1, max_size=4).map(tuple))
records = st.builds(Record, st.lists(lines, min_size=1, max_size=4).map(tuple))
texts = st.text(st.sampled_from(list("ab=\"'# \t\r\n\n\né")), max_size=80)
