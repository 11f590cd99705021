"""The two protocols speak of the same data: bulk copies go over gRPC, administration over REST.

A copy passes bytes from a scroll answer into an upsert undecoded, so what gRPC gives must be what gRPC takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from grpc import RpcError, StatusCode
from qdrant_client import grpc as q

from tests.conformance.client import Grpc, PointId, Rest
from tests.conformance.comparing import assert_same

Json = Any

UUID = "5c56c793-69f3-4fbf-87e6-c4bf54c28c26"
PAYLOAD: Json = {
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "integer": 2**53 + 1,
    "negative": -(2**63),
    "float": 0.1,
    "whole float": 2.0,
    "text": "déjà vu ✓",
    "empty text": "",
    "list": [None, True, 1, 1.5, "x", [], {}],
    "map": {"a": {"b": [{"c": None}, {"d": -1}]}},
    "empty map": {},
    "empty list": [],
}
POINTS = [
    {"id": 1, "vector": [1.0, 0.5, -2.0, 3.25], "payload": PAYLOAD},
    {"id": 2, "vector": [0.0, 1.0, 0.0, 0.0], "payload": {}},
    {"id": UUID, "vector": [4.0, 4.0, 4.0, 4.0], "payload": {"kind": "uuid"}},
]
IDS: list[PointId] = [1, 2, UUID]


@pytest.fixture
def filled(rest: Rest, collection: str) -> str:
    """Three points, written over REST."""
    rest.upsert(collection, POINTS)
    return collection


def point_id(value: PointId) -> q.PointId:
    return q.PointId(num=value) if isinstance(value, int) else q.PointId(uuid=value)


def plain_id(value: q.PointId) -> PointId:
    return value.num if value.WhichOneof("point_id_options") == "num" else value.uuid


def to_json(value: q.Value) -> Json:
    """A payload value of gRPC as JSON has it; the kind decides, so 2 and 2.0 stay apart."""
    kind: str = value.WhichOneof("kind") or "null_value"
    if kind == "struct_value":
        return {key: to_json(item) for key, item in value.struct_value.fields.items()}
    if kind == "list_value":
        return [to_json(item) for item in value.list_value.values]
    return None if kind == "null_value" else getattr(value, kind)


def to_value(item: Json) -> q.Value:
    """JSON as a payload value of gRPC."""
    match item:
        case None:
            return q.Value(null_value=q.NullValue.NULL_VALUE)
        case bool():
            return q.Value(bool_value=item)
        case int():
            return q.Value(integer_value=item)
        case float():
            return q.Value(double_value=item)
        case str():
            return q.Value(string_value=item)
        case list():
            return q.Value(list_value=q.ListValue(values=[to_value(each) for each in item]))
    return q.Value(struct_value=q.Struct(fields={key: to_value(each) for key, each in item.items()}))


def to_point(record: q.RetrievedPoint) -> Json:
    """A point of gRPC as REST gives it."""
    return {
        "id": plain_id(record.id),
        "vector": list(record.vectors.vector.dense.data),
        "payload": {key: to_json(value) for key, value in record.payload.items()},
    }


def scroll(grpc: Grpc, c: str, **options: Any) -> Any:
    """One page with payload and vectors."""
    request = q.ScrollPoints(collection_name=c, **options)
    request.with_payload.enable = True
    request.with_vectors.enable = True
    return grpc.call(grpc.points.Scroll, request)


def selected(*ids: PointId) -> q.PointsSelector:
    return q.PointsSelector(points=q.PointsIdsList(ids=[point_id(i) for i in ids]))


def test_scroll_agrees(rest: Rest, grpc: Grpc, filled: str) -> None:
    over_rest = rest.scroll(filled, with_vector=True)["points"]
    over_grpc = [to_point(record) for record in scroll(grpc, filled).result]
    assert_same(POINTS, over_rest)
    assert_same(over_rest, over_grpc)


def test_pages_agree(grpc: Grpc, filled: str) -> None:
    first = scroll(grpc, filled, limit=2)
    assert [plain_id(record.id) for record in first.result] == [1, 2]
    assert plain_id(first.next_page_offset) == UUID
    last = scroll(grpc, filled, limit=2, offset=first.next_page_offset)
    assert [plain_id(record.id) for record in last.result] == [UUID]
    assert not last.HasField("next_page_offset")


def test_get_agrees(rest: Rest, grpc: Grpc, filled: str) -> None:
    request = q.GetPoints(collection_name=filled, ids=[point_id(i) for i in (1, UUID, 77)])
    request.with_payload.enable = True
    request.with_vectors.enable = True
    got = {point["id"]: point for point in map(to_point, grpc.call(grpc.points.Get, request).result)}
    assert_same(rest.retrieve(filled, 1, UUID, 77), got)


def test_without_payload_and_vectors_there_are_none(grpc: Grpc, filled: str) -> None:
    """The scan of a version pass asks for ids only."""
    request = q.ScrollPoints(collection_name=filled, limit=10)
    request.with_payload.enable = False
    request.with_vectors.enable = False
    for record in grpc.call(grpc.points.Scroll, request).result:
        assert not record.payload
        assert not record.HasField("vectors")


def test_query_agrees_on_scores_and_versions(rest: Rest, grpc: Grpc, filled: str) -> None:
    rest.set_payload(filled, [2], {"later": True})
    request = q.QueryPoints(collection_name=filled, limit=10, params=q.SearchParams(exact=True))
    request.query.nearest.dense.data.extend([1, 1, 1, 1])
    request.filter.must.add().has_id.has_id.extend([point_id(i) for i in IDS])
    found = grpc.call(grpc.points.Query, request).result
    over_grpc = [{"id": plain_id(p.id), "version": p.version, "score": p.score} for p in found]
    over_rest = rest.query(filled, [1, 1, 1, 1], limit=10, params={"exact": True})
    assert_same(over_rest, over_grpc)
    assert rest.versions(filled, IDS, [1, 1, 1, 1]) == {p["id"]: p["version"] for p in over_grpc}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (None, 3),
        (q.Condition(has_id=q.HasIdCondition(has_id=[point_id(1), point_id(UUID), point_id(77)])), 2),
        (q.Condition(field=q.FieldCondition(key="kind", match=q.Match(keyword="uuid"))), 1),
        (q.Condition(field=q.FieldCondition(key="zero", range=q.Range(gte=0, lt=1))), 1),
        (q.Condition(is_empty=q.IsEmptyCondition(key="kind")), 2),
        (q.Condition(is_null=q.IsNullCondition(key="null")), 1),
        (q.Condition(has_vector=q.HasVectorCondition(has_vector="")), 3),
    ],
    ids=["all", "ids", "keyword", "range", "empty", "null", "vector"],
)
def test_count_agrees(grpc: Grpc, filled: str, condition: Any, expected: int) -> None:
    request = q.CountPoints(collection_name=filled, exact=True)
    if condition is not None:
        request.filter.must.append(condition)
    assert grpc.call(grpc.points.Count, request).result.count == expected


def test_slices_agree(rest: Rest, grpc: Grpc, server_version: tuple[int, int], collection: str) -> None:
    if server_version < (1, 19):
        pytest.skip("slice filters exist from 1.19")
    rest.upsert(collection, [{"id": i, "vector": [1, 2, 3, 4]} for i in range(50)])
    parts = []
    for index in range(3):
        request = q.ScrollPoints(collection_name=collection, limit=100)
        request.filter.must.add().slice.CopyFrom(q.SliceCondition(total=3, index=index))
        parts.append([plain_id(record.id) for record in grpc.call(grpc.points.Scroll, request).result])
    conditions = [{"slice": {"total": 3, "index": index}} for index in range(3)]
    assert parts == [rest.ids(collection, {"must": [condition]}) for condition in conditions]
    assert sorted(point for part in parts for point in part) == list(range(50))


def test_a_scrolled_point_can_be_upserted_as_it_is(
    rest: Rest, grpc: Grpc, filled: str, new_collection: Callable[..., str]
) -> None:
    """The copy path: the bytes of an answer's vectors and payload are those of an upsert's."""
    target = new_collection()
    points = [
        q.PointStruct(
            id=record.id,
            payload=record.payload,
            vectors=q.Vectors.FromString(record.vectors.SerializeToString()),
        )
        for record in scroll(grpc, filled).result
    ]
    answer = grpc.call(grpc.points.Upsert, q.UpsertPoints(collection_name=target, wait=True, points=points))
    assert answer.result.status == q.UpdateStatus.Completed
    copied = rest.scroll(target, with_vector=True)["points"]
    assert_same(rest.scroll(filled, with_vector=True)["points"], copied)


def test_upsert_over_grpc_is_read_over_rest(rest: Rest, grpc: Grpc, collection: str) -> None:
    points = [
        q.PointStruct(
            id=point_id(point["id"]),
            vectors=q.Vectors(vector=q.Vector(dense=q.DenseVector(data=point["vector"]))),
            payload={key: to_value(value) for key, value in point["payload"].items()},
        )
        for point in POINTS
    ]
    grpc.call(grpc.points.Upsert, q.UpsertPoints(collection_name=collection, wait=True, points=points))
    assert_same(POINTS, rest.scroll(collection, with_vector=True)["points"])


def test_the_old_form_of_a_vector_is_still_taken(rest: Rest, grpc: Grpc, collection: str) -> None:
    vectors = q.Vectors(vector=q.Vector(data=[1, 2, 3, 4]))
    points = [q.PointStruct(id=point_id(1), vectors=vectors)]
    grpc.call(grpc.points.Upsert, q.UpsertPoints(collection_name=collection, wait=True, points=points))
    assert rest.retrieve(collection, 1)[1]["vector"] == [1.0, 2.0, 3.0, 4.0]


def test_delete_over_grpc(rest: Rest, grpc: Grpc, filled: str) -> None:
    request = q.DeletePoints(collection_name=filled, wait=True, points=selected(1, UUID, 77))
    assert grpc.call(grpc.points.Delete, request).result.status == q.UpdateStatus.Completed
    assert rest.ids(filled) == [2]


def test_payload_changes_over_grpc(rest: Rest, grpc: Grpc, filled: str) -> None:
    def payload() -> Json:
        return rest.retrieve(filled, UUID)[UUID]["payload"]

    where: Any = {"collection_name": filled, "wait": True}
    value = {"deep": to_value({"list": [None, 1, 1.0]})}
    grpc.call(
        grpc.points.SetPayload,
        q.SetPayloadPoints(**where, payload=value, points_selector=selected(UUID)),
    )
    assert_same({"kind": "uuid", "deep": {"list": [None, 1, 1.0]}}, payload())
    keys = ["kind", "deep.list"]
    grpc.call(
        grpc.points.DeletePayload,
        q.DeletePayloadPoints(**where, keys=keys, points_selector=selected(UUID)),
    )
    assert payload() == {"deep": {}}
    grpc.call(
        grpc.points.OverwritePayload,
        q.SetPayloadPoints(**where, payload={"only": to_value(1)}, points_selector=selected(UUID)),
    )
    assert payload() == {"only": 1}
    grpc.call(grpc.points.ClearPayload, q.ClearPayloadPoints(**where, points=selected(UUID)))
    assert payload() == {}


def test_vectors_are_updated_over_grpc(rest: Rest, grpc: Grpc, filled: str) -> None:
    vectors = q.Vectors(vector=q.Vector(dense=q.DenseVector(data=[9, 9, 9, 9])))
    points = [q.PointVectors(id=point_id(2), vectors=vectors)]
    grpc.call(grpc.points.UpdateVectors, q.UpdatePointVectors(collection_name=filled, wait=True, points=points))
    assert rest.retrieve(filled, 2)[2]["vector"] == [9.0, 9.0, 9.0, 9.0]


def test_both_protocols_count_operations_together(rest: Rest, grpc: Grpc, filled: str) -> None:
    before = rest.delete(filled, 1)["operation_id"]
    request = q.DeletePoints(collection_name=filled, wait=True, points=selected(2))
    assert grpc.call(grpc.points.Delete, request).result.operation_id == before + 1


REFUSED: dict[str, tuple[Callable[[Grpc, str], Any], StatusCode]] = {
    "scroll of nothing": (
        lambda grpc, c: grpc.call(grpc.points.Scroll, q.ScrollPoints(collection_name=f"{c}-none")),
        StatusCode.NOT_FOUND,
    ),
    "info of nothing": (
        lambda grpc, c: grpc.call(grpc.collections.Get, q.GetCollectionInfoRequest(collection_name=f"{c}-none")),
        StatusCode.NOT_FOUND,
    ),
    "create twice": (
        lambda grpc, c: grpc.call(
            grpc.collections.Create,
            q.CreateCollection(
                collection_name=c,
                vectors_config=q.VectorsConfig(params=q.VectorParams(size=4, distance=q.Distance.Dot)),
            ),
        ),
        StatusCode.ALREADY_EXISTS,
    ),
    "a UUID that is none": (
        lambda grpc, c: grpc.call(
            grpc.points.Delete,
            q.DeletePoints(collection_name=c, points=selected("no-uuid")),
        ),
        StatusCode.INVALID_ARGUMENT,
    ),
}


@pytest.mark.parametrize(("call", "code"), REFUSED.values(), ids=REFUSED)
def test_refusals_have_their_code(
    grpc: Grpc, filled: str, call: Callable[[Grpc, str], Any], code: StatusCode
) -> None:
    with pytest.raises(RpcError) as refused:
        call(grpc, filled)
    assert refused.value.code() is code


def test_a_collection_made_over_grpc_is_shown_over_rest(rest: Rest, grpc: Grpc, prefix: str) -> None:
    c = f"{prefix}grpc"
    params = q.VectorParams(size=8, distance=q.Distance.Euclid, datatype=q.Datatype.Float16, on_disk=True)
    request = q.CreateCollection(
        collection_name=c,
        vectors_config=q.VectorsConfig(params_map=q.VectorParamsMap(map={"v": params})),
        shard_number=2,
        hnsw_config=q.HnswConfigDiff(m=8),
        optimizers_config=q.OptimizersConfigDiff(indexing_threshold=0),
        metadata={"owner": to_value({"uid": "u", "n": 1})},
    )
    assert grpc.call(grpc.collections.Create, request).result is True
    config = rest.info(c)["config"]
    vector = {"size": 8, "distance": "Euclid", "on_disk": True, "datatype": "float16"}
    assert config["params"]["vectors"] == {"v": vector}
    assert (config["params"]["shard_number"], config["hnsw_config"]["m"]) == (2, 8)
    assert config["optimizer_config"]["indexing_threshold"] == 0
    assert config["metadata"] == {"owner": {"uid": "u", "n": 1}}
    names = grpc.call(grpc.collections.List, q.ListCollectionsRequest()).collections
    assert c in {entry.name for entry in names}
    assert grpc.call(grpc.collections.Delete, q.DeleteCollection(collection_name=c)).result is True
    assert rest.call("GET", f"/collections/{c}").status == 404


def test_the_health_check_names_the_version(rest: Rest, grpc: Grpc) -> None:
    reply = grpc.call(grpc.service.HealthCheck, q.HealthCheckRequest())
    assert reply.version == rest.call("GET", "/").body["version"]
