"""Versions by a formula: every point of a filter is told with its version, whatever vectors it has.

A scan stands on this. If a point were left out, it would be taken for deleted; if a version differed from the one
that a search tells, the two could not take turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

import pytest
from grpc import RpcError, StatusCode
from qdrant_client import grpc as q
from qdrant_client.local.siphash import point_id_slice

from tests.conformance.client import Grpc, PointId, Rest
from tests.conformance.test_grpc import plain_id, point_id
from tests.conformance.test_point_versions import CHANGES, EVEN, EVENS, IDS, PROBE, Write

Json = Any

AFFINITY = "x-qdrant-route-affinity"
FORMULA = q.Query(formula=q.Formula(expression=q.Expression(constant=1.0)))
MIXED: list[PointId] = [*range(60), *(str(UUID(int=i << 96 | i)) for i in range(40))]


def versions(
    grpc: Grpc, c: str, *conditions: q.Condition, limit: int = 1000, exact: bool = True, **metadata: str
) -> list[tuple[PointId, int]]:
    """The points that fulfil the conditions, each with its version, as the answer has them."""
    prefetch = q.PrefetchQuery(limit=limit)
    if conditions:
        prefetch.filter.must.extend(conditions)
    request = q.QueryPoints(
        collection_name=c,
        prefetch=[prefetch],
        query=FORMULA,
        params=q.SearchParams(exact=exact),
        limit=limit,
        with_payload=q.WithPayloadSelector(enable=False),
    )
    return [(plain_id(p.id), p.version) for p in grpc.call(grpc.points.Query, request, **metadata).result]


def over_rest(rest: Rest, c: str, filter: Json = None) -> dict[PointId, int]:  # noqa: A002
    """The same over REST."""
    found = rest.query(c, {"formula": 1.0}, prefetch={"limit": 1000, "filter": filter}, limit=1000)
    assert {point["score"] for point in found} <= {1.0}
    return {point["id"]: point["version"] for point in found}


def sliced(total: int, index: int) -> q.Condition:
    return q.Condition(slice=q.SliceCondition(total=total, index=index))


def has_id(ids: Iterable[PointId]) -> q.Condition:
    return q.Condition(has_id=q.HasIdCondition(has_id=[point_id(each) for each in ids]))


@pytest.fixture(scope="module", params=[1, 3], ids=["one shard", "three shards"])
def shared(request: Any, new_shared_collection: Callable[..., str]) -> str:
    return new_shared_collection(shard_number=request.param)


@pytest.fixture
def filled(rest: Rest, shared: str) -> str:
    """Twenty points: `n` is the id, `parity` even or odd."""
    rest.empty(shared)
    points = [
        {"id": i, "vector": [i, 1, 0, 2], "payload": {"n": i, "parity": "odd" if i % 2 else "even"}} for i in IDS
    ]
    for start in range(0, len(points), 3):
        rest.upsert(shared, points[start : start + 3])
    return shared


@pytest.fixture
def mixed(rest: Rest, shared: str) -> str:
    """A hundred points with ids of both kinds, written one after the other by fives."""
    rest.empty(shared)
    for start in range(0, len(MIXED), 5):
        rest.upsert(shared, [{"id": i, "vector": [1, 1, 0, 2]} for i in MIXED[start : start + 5]])
    return shared


# All of them, with their versions


def test_a_formula_tells_the_versions_that_a_search_tells(rest: Rest, grpc: Grpc, filled: str) -> None:
    searched = rest.versions(filled, IDS, PROBE)
    assert len(set(searched.values())) > 1
    assert dict(versions(grpc, filled)) == over_rest(rest, filled) == searched


@pytest.mark.parametrize(("write", "changed"), CHANGES.values(), ids=CHANGES)
def test_a_change_moves_the_version_of_exactly_the_changed_points(
    rest: Rest, grpc: Grpc, filled: str, write: Write, changed: set[int]
) -> None:
    before = dict(versions(grpc, filled))
    write(rest, filled)
    after = dict(versions(grpc, filled))
    assert {i for i in IDS if after[i] != before[i]} == changed
    assert all(after[i] > before[i] for i in changed)


def test_a_deleted_point_is_gone(rest: Rest, grpc: Grpc, filled: str) -> None:
    before = dict(versions(grpc, filled))
    rest.delete(filled, 2, 5)
    assert dict(versions(grpc, filled)) == {i: v for i, v in before.items() if i not in {2, 5}}


def test_no_point_is_told_twice(grpc: Grpc, mixed: str) -> None:
    found = versions(grpc, mixed)
    assert len(found) == len(MIXED)
    assert {point for point, _ in found} == set(MIXED)


def test_an_empty_collection(grpc: Grpc, collection: str) -> None:
    assert versions(grpc, collection) == []


# What is asked for


def test_by_id(grpc: Grpc, mixed: str) -> None:
    """Absent ids are absent from the answer."""
    everything = dict(versions(grpc, mixed))
    asked = [*MIXED[::7], 777, str(UUID(int=777))]
    found = versions(grpc, mixed, has_id(asked), limit=len(asked))
    assert sorted(found, key=str) == sorted(((i, everything[i]) for i in MIXED[::7]), key=str)


def test_by_a_filter_within_a_filter(rest: Rest, grpc: Grpc, filled: str) -> None:
    field = q.FieldCondition(key="parity", match=q.Match(keyword="even"))
    inner = q.Condition(filter=q.Filter(must=[q.Condition(field=field)]))
    assert dict(versions(grpc, filled, inner)).keys() == over_rest(rest, filled, EVEN).keys() == EVENS
    assert {i for i, _ in versions(grpc, filled, inner, has_id([1, 2, 3, 4]))} == {2, 4}


def test_an_empty_condition_counts_for_nothing(grpc: Grpc, filled: str) -> None:
    """What a server makes of a condition that it does not know."""
    assert len(versions(grpc, filled, q.Condition())) == len(IDS)
    assert {i for i, _ in versions(grpc, filled, q.Condition(), has_id([3]))} == {3}


@pytest.mark.parametrize("total", [1, 2, 7])
def test_slices(rest: Rest, grpc: Grpc, mixed: str, server_version: tuple[int, int], total: int) -> None:
    """From 1.19 on they part the points by a known hash. Before, gRPC answers with all: it is no refusal."""
    everything = dict(versions(grpc, mixed))
    for index in range(total):
        found = dict(versions(grpc, mixed, sliced(total, index)))
        if server_version < (1, 19):
            assert found == everything
        else:
            assert found == {i: v for i, v in everything.items() if point_id_slice(i, total) == index}
            assert found == over_rest(rest, mixed, {"must": [{"slice": {"total": total, "index": index}}]})


def test_a_slice_of_some_points(grpc: Grpc, mixed: str, server_version: tuple[int, int]) -> None:
    if server_version < (1, 19):
        pytest.skip("slices are known from 1.19 on")
    found = versions(grpc, mixed, sliced(3, 1), has_id(MIXED[::2]))
    assert {i for i, _ in found} == {i for i in MIXED[::2] if point_id_slice(i, 3) == 1}


# How many


def test_an_answer_is_cut_at_the_limit(grpc: Grpc, mixed: str) -> None:
    everything = dict(versions(grpc, mixed))
    found = versions(grpc, mixed, limit=30)
    assert len(found) == 30
    assert found == [(i, everything[i]) for i, _ in found]


@pytest.mark.parametrize("room", [1, 7], ids=["exactly enough", "plenty"])
def test_an_exact_request_has_all_points_of_all_shards(
    rest: Rest, grpc: Grpc, new_collection: Callable[..., str], room: int
) -> None:
    """A large limit is shared out among the shards, and a shard that has more than its share is cut: not here."""
    c = new_collection(shard_number=4)
    points = [i for i in range(3000) if point_id_slice(i, 5) != 2]
    rest.upsert(c, [{"id": i, "vector": [1, 1, 0, 2]} for i in points])
    found = versions(grpc, c, limit=room * len(points))
    assert sorted(i for i, _ in found if isinstance(i, int)) == points


def test_a_limit_of_all_shards_times_the_points_needs_not_be_exact(
    rest: Rest, grpc: Grpc, new_collection: Callable[..., str]
) -> None:
    c = new_collection(shard_number=4)
    rest.upsert(c, [{"id": i, "vector": [1, 1, 0, 2]} for i in range(1000)])
    assert len(versions(grpc, c, limit=4000, exact=False)) == 1000


def test_a_formula_needs_a_prefetch(rest: Rest, grpc: Grpc, filled: str) -> None:
    answer = rest.call("POST", f"/collections/{filled}/points/query", {"query": {"formula": 1.0}})
    assert answer.status == 400
    assert "cannot apply Formula without prefetches" in answer.error
    with pytest.raises(RpcError) as refused:
        grpc.call(grpc.points.Query, q.QueryPoints(collection_name=filled, query=FORMULA))
    assert refused.value.code() is StatusCode.INVALID_ARGUMENT


# Whatever vectors there are

VECTORS: dict[str, tuple[Json, list[Json]]] = {
    "two of which some are missing": (
        {"vectors": {name: {"size": 2, "distance": "Dot"} for name in "ab"}},
        [{"a": [1, 2], "b": [3, 4]}, {"b": [3, 4]}, {"a": [1, 2]}, {}],
    ),
    "sparse vectors alone": (
        {"vectors": {}, "sparse_vectors": {"bm25": {}}},
        [{"bm25": {"indices": [1, 2], "values": [1, 2]}}, {"bm25": {"indices": [9], "values": [1]}}, {}],
    ),
    "multivectors": (
        {"vectors": {"size": 2, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}}},
        [[[1, 2], [3, 4]], [[1, 2]]],
    ),
    "none at all": ({"vectors": {}}, [{}, {}, {}]),
}


@pytest.mark.parametrize(("config", "vectors"), VECTORS.values(), ids=VECTORS)
def test_points_need_no_vector(
    rest: Rest, grpc: Grpc, new_collection: Callable[..., str], config: Json, vectors: list[Json]
) -> None:
    c = new_collection(**config)
    ids = list(range(1, len(vectors) + 1))
    for i, vector in zip(ids, vectors, strict=True):
        rest.upsert(c, [{"id": i, "vector": vector, "payload": {"n": i}}])
    before = dict(versions(grpc, c))
    assert sorted(before) == ids
    assert len(set(before.values())) == len(ids)
    rest.set_payload(c, [ids[-1]], {"n": -1})
    after = dict(versions(grpc, c))
    assert {i for i in ids if after[i] != before[i]} == {ids[-1]}
    rest.delete(c, ids[0])
    assert dict(versions(grpc, c)) == {i: v for i, v in after.items() if i != ids[0]}


# Route affinity


def test_reads_may_carry_a_token(rest: Rest, grpc: Grpc, mixed: str) -> None:
    """On one node it changes nothing; it is no reason to refuse, whatever it looks like."""
    everything = sorted(versions(grpc, mixed), key=str)
    for token in ("teal-5f", "ünicode".encode().hex(), ""):
        assert sorted(versions(grpc, mixed, **{AFFINITY: token}), key=str) == everything
    body = '{"exact": true}'
    path = f"/collections/{mixed}/points/count"
    assert rest.send("POST", path, body, {AFFINITY: "teal-5f"}).result["count"] == len(MIXED)
    counted = grpc.call(
        grpc.points.Count, q.CountPoints(collection_name=mixed, exact=True), **{AFFINITY: "teal-5f"}
    )
    assert counted.result.count == len(MIXED)
