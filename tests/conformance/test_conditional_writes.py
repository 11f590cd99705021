"""`update_mode` and `update_filter`: what a copy may overwrite, decided by the server at the moment of writing."""

from __future__ import annotations

from typing import Any

import pytest
from qdrant_client import grpc as q

from tests.conformance.client import Grpc, Rest

Json = Any

OLD, NEW = [1, 0, 0, 0], [0, 0, 0, 1]
FROM_APP = {"must": [{"key": "from", "match": {"value": "app"}}]}


@pytest.fixture
def written(rest: Rest, collection: str) -> str:
    """Point 1 written by the application, point 2 by a copy; point 3 does not exist."""
    points = [{"id": i, "vector": OLD, "payload": {"from": who}} for i, who in ((1, "app"), (2, "copy"))]
    rest.upsert(collection, points)
    return collection


def outcome(rest: Rest, c: str) -> dict[Any, Any]:
    """Of each point: is its content the new one?"""
    return {i: point["vector"] == NEW for i, point in rest.retrieve(c, 1, 2, 3).items()}


CONDITIONS: dict[str, tuple[Json, dict[int, bool]]] = {
    "upsert": ({"update_mode": "upsert"}, {1: True, 2: True, 3: True}),
    "insert only": ({"update_mode": "insert_only"}, {1: False, 2: False, 3: True}),
    "update only": ({"update_mode": "update_only"}, {1: True, 2: True}),
    "filter": ({"update_filter": FROM_APP}, {1: True, 2: False, 3: True}),
    "filter, update only": ({"update_filter": FROM_APP, "update_mode": "update_only"}, {1: True, 2: False}),
}


@pytest.mark.parametrize(("options", "expected"), CONDITIONS.values(), ids=CONDITIONS)
def test_over_rest(rest: Rest, written: str, options: Json, expected: dict[int, bool]) -> None:
    points = [{"id": i, "vector": NEW, "payload": {"from": "new"}} for i in (1, 2, 3)]
    assert rest.upsert(written, points, **options)["status"] == "completed"
    assert outcome(rest, written) == expected


GRPC_CONDITIONS: dict[str, tuple[Json, dict[int, bool]]] = {
    "insert only": ({"update_mode": q.UpdateMode.InsertOnly}, {1: False, 2: False, 3: True}),
    "update only": ({"update_mode": q.UpdateMode.UpdateOnly}, {1: True, 2: True}),
    "filter": (
        {
            "update_filter": q.Filter(
                must=[q.Condition(field=q.FieldCondition(key="from", match=q.Match(keyword="app")))]
            )
        },
        {1: True, 2: False, 3: True},
    ),
}


@pytest.mark.parametrize(("options", "expected"), GRPC_CONDITIONS.values(), ids=GRPC_CONDITIONS)
def test_over_grpc(rest: Rest, grpc: Grpc, written: str, options: Json, expected: dict[int, bool]) -> None:
    vectors = q.Vectors(vector=q.Vector(dense=q.DenseVector(data=NEW)))
    points = [q.PointStruct(id=q.PointId(num=i), vectors=vectors) for i in (1, 2, 3)]
    request = q.UpsertPoints(collection_name=written, wait=True, points=points, **options)
    assert grpc.call(grpc.points.Upsert, request).result.status == q.UpdateStatus.Completed
    assert outcome(rest, written) == expected


def test_payload_changes_by_filter_touch_what_matches(rest: Rest, written: str) -> None:
    body = {"payload": {"seen": True}, "filter": FROM_APP}
    rest.ok("POST", f"/collections/{written}/points/payload?wait=true", body)
    payloads = {i: point["payload"] for i, point in rest.retrieve(written, 1, 2).items()}
    assert payloads == {1: {"from": "app", "seen": True}, 2: {"from": "copy"}}


def test_a_partial_change_of_a_missing_point_is_refused(rest: Rest, written: str) -> None:
    body = {"payload": {"x": 1}, "points": [3]}
    refused = rest.call("POST", f"/collections/{written}/points/payload?wait=true", body)
    assert refused.status == 404
    assert "No point with id 3 found" in refused.error
    assert rest.ids(written) == [1, 2]


def test_payload_operations(rest: Rest, written: str) -> None:
    path = f"/collections/{written}/points/payload"

    def payload() -> Json:
        return rest.retrieve(written, 1)[1].get("payload")

    rest.ok("POST", f"{path}?wait=true", {"payload": {"a": {"b": 1}, "c": 2}, "points": [1]})
    assert payload() == {"from": "app", "a": {"b": 1}, "c": 2}
    rest.ok("POST", f"{path}?wait=true", {"payload": {"d": 3}, "points": [1], "key": "a"})
    assert payload() == {"from": "app", "a": {"b": 1, "d": 3}, "c": 2}
    rest.ok("POST", f"{path}/delete?wait=true", {"keys": ["a.b", "c"], "points": [1]})
    assert payload() == {"from": "app", "a": {"d": 3}}
    rest.ok("PUT", f"{path}?wait=true", {"payload": {"only": None}, "points": [1]})
    assert payload() == {"only": None}
    rest.ok("POST", f"{path}/clear?wait=true", {"points": [1]})
    assert payload() == {}
