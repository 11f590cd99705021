"""Reading everything exactly once: scroll order, inclusive offsets, slices, exact counts, facets."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

import pytest
from qdrant_client.local.siphash import point_id_slice

from tests.conformance.client import PointId, Rest

Json = Any

NUMBERS = [0, 1, 2, 9, 10, 100, 2**31, 2**53 + 1, 2**64 - 1]
UUIDS = sorted(str(UUID(int=random.Random(7).getrandbits(128) ^ i, version=4)) for i in range(9))
# By number, then by UUID.
ORDERED: list[PointId] = [*NUMBERS, *UUIDS]


@pytest.fixture
def mixed(rest: Rest, collection: str) -> str:
    """Points with every kind of id, written in no order."""
    shuffled = random.Random(3).sample(ORDERED, len(ORDERED))
    points = [{"id": i, "vector": [1, 2, 3, 4], "payload": {"kind": type(i).__name__}} for i in shuffled]
    rest.upsert(collection, points)
    return collection


@pytest.mark.parametrize("limit", [1, 4, 9, 18, 19])
def test_pages_join_into_every_point_once_and_in_order(rest: Rest, mixed: str, limit: int) -> None:
    seen: list[PointId] = []
    offset: PointId | None = None
    while True:
        page = rest.scroll(mixed, limit=limit, offset=offset, with_payload=False)
        seen += [point["id"] for point in page["points"]]
        offset = page["next_page_offset"]
        if offset is None:
            break
        assert len(page["points"]) == limit
    assert seen == ORDERED


@pytest.mark.parametrize("first", [NUMBERS[0], NUMBERS[3], NUMBERS[-1], UUIDS[0], UUIDS[-1]])
def test_an_offset_is_inclusive(rest: Rest, mixed: str, first: PointId) -> None:
    page = rest.scroll(mixed, limit=100, offset=first)
    assert [point["id"] for point in page["points"]] == ORDERED[ORDERED.index(first) :]


def test_an_offset_need_not_exist(rest: Rest, mixed: str) -> None:
    page = rest.scroll(mixed, limit=2, offset=3)
    assert [point["id"] for point in page["points"]] == [9, 10]
    assert page["next_page_offset"] == 100


def test_points_behind_the_cursor_are_not_read_again(rest: Rest, mixed: str) -> None:
    page = rest.scroll(mixed, limit=4)
    rest.upsert(mixed, [{"id": 5, "vector": [0, 0, 0, 1]}])
    rest.delete(mixed, 0)
    rest_of_it = rest.scroll(mixed, limit=100, offset=page["next_page_offset"])
    assert [point["id"] for point in rest_of_it["points"]] == ORDERED[4:]


def test_ids_are_told_in_one_spelling(rest: Rest, collection: str) -> None:
    plain = UUIDS[0]
    rest.upsert(collection, [{"id": plain.replace("-", "").upper(), "vector": [1, 2, 3, 4]}])
    assert rest.ids(collection) == [plain]


@pytest.mark.parametrize("bad", [-1, 1.5, "no-uuid", 2**64, True, None])
def test_anything_else_is_no_id(rest: Rest, collection: str, bad: Json) -> None:
    assert rest.try_upsert(collection, [{"id": bad, "vector": [1, 2, 3, 4]}]).status == 400
    assert rest.count(collection) == 0


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (True, {"a": 1, "b": {"c": 2, "d": 3}}),
        (False, None),
        (["b.c"], {"b": {"c": 2}}),
        ({"include": ["a"]}, {"a": 1}),
        ({"exclude": ["b"]}, {"a": 1}),
    ],
    ids=str,
)
def test_only_the_asked_for_payload_comes(rest: Rest, collection: str, selector: Json, expected: Json) -> None:
    rest.upsert(collection, [{"id": 1, "vector": [1, 2, 3, 4], "payload": {"a": 1, "b": {"c": 2, "d": 3}}}])
    (point,) = rest.scroll(collection, with_payload=selector)["points"]
    assert point.get("payload") == expected
    assert "vector" not in point


def test_missing_ids_are_absent_from_a_retrieve(rest: Rest, mixed: str) -> None:
    assert rest.retrieve(mixed, 1, 77, UUIDS[0]).keys() == {1, UUIDS[0]}
    assert rest.call("GET", f"/collections/{mixed}/points/77").status == 404
    assert rest.ok("GET", f"/collections/{mixed}/points/1")["id"] == 1


@pytest.mark.parametrize("total", [1, 2, 7])
def test_slices_part_the_ids_as_the_client_computes_it(
    rest: Rest, server_version: tuple[int, int], mixed: str, total: int
) -> None:
    if server_version < (1, 19):
        pytest.skip("slice filters exist from 1.19")
    slices = [rest.ids(mixed, {"must": [{"slice": {"total": total, "index": i}}]}) for i in range(total)]
    assert slices == [[p for p in ORDERED if point_id_slice(p, total) == i] for i in range(total)]


FILTERS: dict[str, tuple[Json, int]] = {
    "all": (None, 18),
    "match": ({"must": [{"key": "kind", "match": {"value": "int"}}]}, 9),
    "any of": ({"must": [{"key": "kind", "match": {"any": ["int", "str"]}}]}, 18),
    "none of": ({"must": [{"key": "kind", "match": {"except": ["int"]}}]}, 9),
    "must not": ({"must_not": [{"key": "kind", "match": {"value": "int"}}]}, 9),
    "should": ({"should": [{"has_id": [1]}, {"has_id": [2, UUIDS[0]]}]}, 3),
    "ids": ({"must": [{"has_id": [1, 77, UUIDS[0]]}]}, 2),
    "empty": ({"must": [{"is_empty": {"key": "nope"}}]}, 18),
    "null": ({"must": [{"is_null": {"key": "kind"}}]}, 0),
    "has vector": ({"must": [{"has_vector": ""}]}, 18),
    "lacks a vector": ({"must_not": [{"has_vector": ""}]}, 0),
    "within": ({"must": [{"should": [{"has_id": [1]}], "must_not": [{"has_id": [2]}]}]}, 1),
}


@pytest.mark.parametrize(("filter_", "expected"), FILTERS.values(), ids=FILTERS)
def test_counts_are_exact(rest: Rest, mixed: str, filter_: Json, expected: int) -> None:
    assert rest.count(mixed, filter_) == expected == len(rest.ids(mixed, filter_))


FACETS: dict[str, tuple[Json, list[Json], list[tuple[Json, int]]]] = {
    "keyword": ("keyword", ["b", "a", "b", ["a", "b"]], [("b", 3), ("a", 2)]),
    "integer": ("integer", [7, 7, 8, None], [(7, 2), (8, 1)]),
    "bool": ("bool", [True, True, False, None], [(True, 2), (False, 1)]),
    "uuid": ("uuid", [UUIDS[0], UUIDS[0], UUIDS[1], "x"], [(UUIDS[0], 2), (UUIDS[1], 1)]),
}


@pytest.mark.parametrize(("schema", "values", "hits"), FACETS.values(), ids=FACETS)
def test_facets_count_points_by_value(
    rest: Rest, collection: str, schema: Json, values: list[Json], hits: list[tuple[Json, int]]
) -> None:
    points = [{"id": i, "vector": [1, 2, 3, 4], "payload": {"f": value}} for i, value in enumerate(values)]
    rest.upsert(collection, points)
    rest.index(collection, "f", schema)
    body = {"key": "f", "exact": True, "limit": 10}
    answered = rest.ok("POST", f"/collections/{collection}/facet", body)["hits"]
    assert [(hit["value"], hit["count"]) for hit in answered] == hits


def test_facets_obey_filter_and_limit(rest: Rest, mixed: str) -> None:
    rest.index(mixed, "kind", "keyword")
    ints = {"must": [{"has_id": [*NUMBERS, UUIDS[0]]}]}
    body = {"key": "kind", "exact": True, "filter": ints, "limit": 1}
    answered = rest.ok("POST", f"/collections/{mixed}/facet", body)["hits"]
    assert answered == [{"value": "int", "count": 9}]
