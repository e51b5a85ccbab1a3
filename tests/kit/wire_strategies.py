"""Hypothesis strategies for every message, made from the tables of venti_store.wire."""

from hypothesis import strategies as st

from lib9 import fields
from venti_store import wire
from venti_store.fields import Count, ScoreField
from venti_store.kind import Kind

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=100)


def of_field(field: fields.Field, version: wire.Version) -> st.SearchStrategy:
    match field:
        case fields.UInt():
            numbers = (
                st.sampled_from(field.enum)
                if field.enum
                else st.integers(0, (1 << 8 * field.size) - 1)
            )
            return st.none() | numbers if field.none_is_zero else numbers
        case Count():
            return st.integers(0, 70000) | st.integers(0, (1 << 32) - 1)
        case fields.Counted():
            return st.binary(max_size=min(field.size_max, 300))
        case fields.Text():
            return texts
        case ScoreField():
            size = version.family.size
            return st.binary(min_size=size, max_size=size)
        case fields.Rest():
            return st.binary(max_size=300)
        case fields.Record():
            values = st.tuples(*(of_field(inner, version) for _, inner in field.fields))
            return values.map(lambda row: field.build(*row)) if field.build else values
        case fields.Many():
            return st.lists(of_field(field.of, version), max_size=5).map(tuple)
    raise AssertionError(field)


def of_message(kind: type, version: wire.Version) -> st.SearchStrategy:
    named = version.table.named(kind)
    values = {name: of_field(field, version) for name, field in named if name}
    return st.builds(kind, **values)


def messages(version: wire.Version) -> st.SearchStrategy:
    return st.one_of(*(of_message(kind, version) for kind in version.table.layouts))


versions = st.sampled_from(list(wire.VERSIONS.values()))
tags = st.integers(0, 255)
kinds = st.sampled_from(Kind)
tagged = versions.flatmap(lambda v: st.tuples(st.just(v), tags, messages(v)))
