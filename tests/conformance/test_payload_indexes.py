"""Payload indexes with all their options: what is asked for is what stands in `payload_schema`, and it filters.

Teal compares the declared indexes with `payload_schema` on every drift check: an option that is lost or invented
there would be a difference that never goes away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conformance.client import Rest

Json = Any

UUIDS = ["5c56c793-69f3-4fbf-87e6-c4bf54c28c26", "00000000-0000-4000-8000-000000000001"]


@dataclass(frozen=True)
class Kind:
    """One type of index: three values, the options it takes, and a condition that only the first value meets."""

    values: tuple[Json, Json, Json]
    options: tuple[Json, ...]
    condition: Json


KINDS: dict[str, Kind] = {
    "keyword": Kind(
        ("red", "blue", ["blue", "green"]),
        ({"is_tenant": True}, {"is_tenant": False, "on_disk": True}),
        {"match": {"value": "red"}},
    ),
    "integer": Kind(
        (1, 20, -300),
        (
            {"lookup": True, "range": False},
            {"lookup": True, "range": True, "is_principal": True, "on_disk": True},
        ),
        {"match": {"value": 1}},
    ),
    "float": Kind(
        (0.5, 1.5, -2.25),
        ({"is_principal": True}, {"on_disk": True}),
        {"range": {"gte": 0.5, "lt": 1.5}},
    ),
    "bool": Kind((True, False, False), ({"on_disk": True},), {"match": {"value": True}}),
    "geo": Kind(
        ({"lon": 13.4, "lat": 52.5}, {"lon": 2.35, "lat": 48.86}, {"lon": -0.1, "lat": 51.5}),
        ({"on_disk": True},),
        {"geo_radius": {"center": {"lon": 13.4, "lat": 52.5}, "radius": 1000.0}},
    ),
    "datetime": Kind(
        ("2026-01-01T00:00:00Z", "2025-01-01T00:00:00Z", "2024-06-01"),
        ({"is_principal": True}, {"on_disk": True}),
        {"range": {"gte": "2025-12-31T23:00:00-01:00"}},
    ),
    "text": Kind(
        ("Blue green deployments", "green collections", "nothing"),
        (
            {"tokenizer": "word", "lowercase": True, "min_token_len": 2, "max_token_len": 20},
            {"tokenizer": "whitespace", "lowercase": False, "phrase_matching": True, "on_disk": True},
            {"tokenizer": "prefix", "lowercase": True},
            {"tokenizer": "multilingual", "lowercase": True},
        ),
        {"match": {"text": "deployments"}},
    ),
    "uuid": Kind(
        (UUIDS[0], UUIDS[1], UUIDS[1]), ({"is_tenant": True}, {"on_disk": True}), {"match": {"value": UUIDS[0]}}
    ),
}

ASKED = [
    (name, schema)
    for name, kind in KINDS.items()
    for schema in [name, *({"type": name, **options} for options in kind.options)]
]


def fill(rest: Rest, c: str, kind: Kind) -> None:
    """Three points with a value, one with null, one without the field, one with a value of a wrong type."""
    payloads = [{"f": value} for value in kind.values] + [{"f": None}, {}, {"f": {"wrong": "type"}}]
    rest.upsert(c, [{"id": i, "vector": [1, 2, 3, i], "payload": p} for i, p in enumerate(payloads, 1)])


SHOWN_ALWAYS: dict[str, Json] = {
    "integer": {"lookup": None, "range": None, "is_principal": None},
    "float": {"is_principal": None},
    "datetime": {"is_principal": None},
}
"""Options that are shown as null where nobody asked for them."""


def asked_schema(name: str, schema: Json, points: int) -> Json:
    """How `payload_schema` shows an index that was asked for as `schema`."""
    shown = {"data_type": name, "points": points}
    return shown if isinstance(schema, str) else {**shown, "params": SHOWN_ALWAYS.get(name, {}) | schema}


@pytest.mark.parametrize(("name", "schema"), ASKED, ids=[str(schema) for _, schema in ASKED])
def test_an_index_is_shown_as_it_was_asked_for(rest: Rest, collection: str, name: str, schema: Json) -> None:
    fill(rest, collection, KINDS[name])
    rest.index(collection, "f", schema)
    assert rest.info(collection)["payload_schema"] == {"f": asked_schema(name, schema, points=3)}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("indexed", [True, False], ids=["indexed", "not indexed"])
def test_a_condition_finds_the_same_with_and_without_an_index(
    rest: Rest, collection: str, name: str, indexed: bool
) -> None:
    fill(rest, collection, KINDS[name])
    if indexed:
        rest.index(collection, "f", name)
    assert rest.ids(collection, {"must": [{"key": "f", **KINDS[name].condition}]}) == [1]


@pytest.mark.parametrize("name", KINDS)
def test_an_index_made_first_counts_what_is_written_later(rest: Rest, collection: str, name: str) -> None:
    """Green gets its indexes before or after its points; both must show the same."""
    rest.index(collection, "f", name)
    fill(rest, collection, KINDS[name])
    assert rest.info(collection)["payload_schema"]["f"]["points"] == 3
    assert rest.ids(collection, {"must": [{"key": "f", **KINDS[name].condition}]}) == [1]


def test_an_index_can_be_replaced_by_another_type(rest: Rest, collection: str) -> None:
    fill(rest, collection, KINDS["integer"])
    rest.index(collection, "f", {"type": "integer", "lookup": True, "range": False})
    rest.index(collection, "f", "keyword")
    assert rest.info(collection)["payload_schema"] == {"f": {"data_type": "keyword", "points": 0}}


def test_options_of_an_index_can_be_changed(rest: Rest, collection: str) -> None:
    fill(rest, collection, KINDS["keyword"])
    rest.index(collection, "f", "keyword")
    tenant = {"type": "keyword", "is_tenant": True}
    rest.index(collection, "f", tenant)
    assert rest.info(collection)["payload_schema"] == {"f": asked_schema("keyword", tenant, points=3)}


def test_a_dropped_index_is_gone_and_filters_still_work(rest: Rest, collection: str) -> None:
    fill(rest, collection, KINDS["keyword"])
    rest.index(collection, "f", "keyword")
    rest.drop_index(collection, "f")
    assert rest.info(collection)["payload_schema"] == {}
    assert rest.ids(collection, {"must": [{"key": "f", "match": {"value": "red"}}]}) == [1]


def test_a_nested_field_can_be_indexed(rest: Rest, collection: str) -> None:
    payload = {"a": {"b": [{"c": "x"}, {"c": "y"}]}}
    rest.upsert(collection, [{"id": 1, "vector": [1, 2, 3, 4], "payload": payload}])
    rest.index(collection, "a.b[].c", "keyword")
    assert rest.info(collection)["payload_schema"] == {"a.b[].c": {"data_type": "keyword", "points": 1}}
    assert rest.ids(collection, {"must": [{"key": "a.b[].c", "match": {"value": "y"}}]}) == [1]


def test_several_indexes_stand_side_by_side(rest: Rest, new_collection: Callable[..., str]) -> None:
    c = new_collection()
    for name in KINDS:
        rest.index(c, f"of_{name}", name)
    shown = rest.info(c)["payload_schema"]
    assert {field: entry["data_type"] for field, entry in shown.items()} == {f"of_{n}": n for n in KINDS}


@pytest.mark.parametrize(
    "schema", ["keywrd", {"type": "keyword", "is_tenant": "yes"}, {"is_tenant": True}], ids=str
)
def test_a_schema_that_does_not_exist_is_refused(rest: Rest, collection: str, schema: Json) -> None:
    body = {"field_name": "f", "field_schema": schema}
    assert rest.call("PUT", f"/collections/{collection}/index?wait=true", body).status == 400
    assert rest.info(collection)["payload_schema"] == {}
