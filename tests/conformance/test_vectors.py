"""Vectors of every shape come back as they went in, over both protocols, or are refused.

What is lost on purpose is pinned: Cosine normalises, Float16 and Uint8 round.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from grpc import RpcError, StatusCode
from qdrant_client import grpc as q

from tests.conformance.client import Grpc, Rest
from tests.conformance.comparing import assert_same

Json = Any

VECTORS = {
    "dense": {"size": 3, "distance": "Dot"},
    "multi": {"size": 2, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}},
}
SPARSE = {"words": {}, "weighted": {"modifier": "idf"}}
POINT = {
    "dense": [1.5, -2.0, 0.25],
    "multi": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.5]],
    "words": {"indices": [3, 70, 900], "values": [0.5, -1.0, 2.0]},
    "weighted": {"indices": [1], "values": [4.0]},
}


@pytest.fixture(scope="module")
def shared(new_shared_collection: Callable[..., str]) -> str:
    return new_shared_collection(vectors=VECTORS, sparse_vectors=SPARSE)


@pytest.fixture
def named(rest: Rest, shared: str) -> str:
    """An empty collection of named dense, multi- and sparse vectors."""
    rest.empty(shared)
    return shared


def as_proto(vector: Json) -> q.Vector:
    """One vector as it goes over gRPC."""
    if isinstance(vector, dict):
        return q.Vector(sparse=q.SparseVector(**vector))
    if isinstance(vector[0], list):
        return q.Vector(multi_dense=q.MultiDenseVector(vectors=[q.DenseVector(data=row) for row in vector]))
    return q.Vector(dense=q.DenseVector(data=vector))


def as_json(vector: q.VectorOutput) -> Json:
    """One vector from gRPC in the shape that REST gives; every server from 1.17 fills the oneof."""
    kind = vector.WhichOneof("vector")
    if kind == "sparse":
        return {"indices": list(vector.sparse.indices), "values": list(vector.sparse.values)}
    if kind == "multi_dense":
        return [list(row.data) for row in vector.multi_dense.vectors]
    assert kind == "dense"
    return list(vector.dense.data)


def read_over_grpc(grpc: Grpc, c: str) -> Json:
    """The vectors of the first point."""
    request = q.ScrollPoints(collection_name=c, limit=1)
    request.with_vectors.enable = True
    vectors = grpc.call(grpc.points.Scroll, request).result[0].vectors
    if vectors.WhichOneof("vectors_options") == "vector":
        return as_json(vectors.vector)
    return {name: as_json(vector) for name, vector in vectors.vectors.vectors.items()}


def write_over_grpc(grpc: Grpc, c: str, vector: Json) -> None:
    if isinstance(vector, dict):
        named = q.NamedVectors(vectors={name: as_proto(value) for name, value in vector.items()})
        vectors = q.Vectors(vectors=named)
    else:
        vectors = q.Vectors(vector=as_proto(vector))
    point = q.PointStruct(id=q.PointId(num=1), vectors=vectors)
    grpc.call(grpc.points.Upsert, q.UpsertPoints(collection_name=c, wait=True, points=[point]))


@pytest.mark.parametrize("names", [list(POINT), ["dense"], ["words", "multi"], []], ids=str)
@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_named_vectors_come_back_as_written(
    rest: Rest, grpc: Grpc, named: str, way: str, names: list[str]
) -> None:
    """Also points that lack some of them, or all."""
    vector = {name: POINT[name] for name in names}
    if way == "rest":
        rest.upsert(named, [{"id": 1, "vector": vector}])
    else:
        write_over_grpc(grpc, named, vector)
    assert_same(vector, rest.retrieve(named, 1)[1]["vector"])
    assert_same(vector, read_over_grpc(grpc, named))


def test_only_the_asked_for_vectors_come(rest: Rest, named: str) -> None:
    rest.upsert(named, [{"id": 1, "vector": POINT}])
    (point,) = rest.scroll(named, with_vector=["dense", "words"], with_payload=False)["points"]
    assert point == {"id": 1, "vector": {"dense": POINT["dense"], "words": POINT["words"]}}


def test_updating_and_deleting_named_vectors(rest: Rest, named: str) -> None:
    rest.upsert(named, [{"id": 1, "vector": POINT, "payload": {"kept": True}}])
    path = f"/collections/{named}/points/vectors"
    rest.ok("PUT", f"{path}?wait=true", {"points": [{"id": 1, "vector": {"dense": [7, 8, 9]}}]})
    rest.ok("POST", f"{path}/delete?wait=true", {"points": [1], "vector": ["words", "weighted"]})
    expected = {"dense": [7.0, 8.0, 9.0], "multi": POINT["multi"]}
    assert rest.retrieve(named, 1)[1] == {"id": 1, "vector": expected, "payload": {"kept": True}}
    assert rest.count(named, {"must_not": [{"has_vector": "words"}]}) == 1
    assert rest.count(named, {"must": [{"has_vector": "dense"}]}) == 1


def test_each_named_vector_can_be_queried(rest: Rest, named: str) -> None:
    other = {**POINT, "dense": [-1.0, 0, 0], "multi": [[-9.0, -9.0]], "words": {"indices": [3], "values": [9.0]}}
    rest.upsert(named, [{"id": 1, "vector": POINT}, {"id": 2, "vector": other}])
    assert [p["id"] for p in rest.query(named, [1, 0, 0], using="dense")] == [1, 2]
    assert [p["id"] for p in rest.query(named, [[1.0, 1.0], [0.0, 1.0]], using="multi")] == [1, 2]
    sparse = rest.query(named, {"indices": [3], "values": [1]}, using="words")
    assert [(p["id"], p["score"]) for p in sparse] == [(2, 9.0), (1, 0.5)]


@pytest.mark.parametrize(
    ("rows", "status"), [([[1, 1], [0, 1]], 422), ([[1, 2], [0, 1]], 400), ([[1, 2], [3, 4], [5, 6]], 200)]
)
def test_two_rows_of_whole_numbers_are_taken_for_a_sparse_vector(
    rest: Rest, named: str, rows: list[list[int]], status: int
) -> None:
    """In JSON: the first row for the indices, the second one for the values. Over gRPC a multivector says so."""
    body = {"query": rows, "using": "multi"}
    assert rest.call("POST", f"/collections/{named}/points/query", body).status == status
    point = {"points": [{"id": 1, "vector": {"multi": rows}}]}
    assert rest.call("PUT", f"/collections/{named}/points?wait=true", point).status == status


def test_a_sparse_query_scores_only_overlapping_points(rest: Rest, named: str) -> None:
    """Why versions cannot be read through sparse vectors."""
    rest.upsert(named, [{"id": 1, "vector": POINT}, {"id": 2, "vector": {}}])
    assert rest.versions(named, [1, 2], {"indices": [12345], "values": [1]}, using="words") == {}


def test_the_configuration_of_named_vectors_is_shown(rest: Rest, named: str) -> None:
    params = rest.info(named)["config"]["params"]
    assert params["vectors"] == VECTORS
    assert params["sparse_vectors"] == SPARSE


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_cosine_normalises(rest: Rest, grpc: Grpc, new_collection: Callable[..., str], way: str) -> None:
    c = new_collection(vectors={"size": 3, "distance": "Cosine"})
    if way == "rest":
        rest.upsert(c, [{"id": 1, "vector": [2, 3, 6]}])
    else:
        write_over_grpc(grpc, c, [2, 3, 6])
    expected = [2 / 7, 3 / 7, 6 / 7]
    assert_same(expected, rest.retrieve(c, 1)[1]["vector"])
    assert_same(expected, read_over_grpc(grpc, c))


def test_normalising_twice_changes_nothing_that_matters(rest: Rest, new_collection: Callable[..., str]) -> None:
    """A copied Cosine vector is normalised again: within the tolerance of a comparison."""
    c = new_collection(vectors={"size": 3, "distance": "Cosine"})
    rest.upsert(c, [{"id": 1, "vector": [0.123, 4.56, -78.9]}])
    once = rest.retrieve(c, 1)[1]["vector"]
    rest.upsert(c, [{"id": 1, "vector": once}])
    assert_same(once, rest.retrieve(c, 1)[1]["vector"])


def test_a_zero_vector_stays_zero_under_cosine(rest: Rest, new_collection: Callable[..., str]) -> None:
    c = new_collection(vectors={"size": 3, "distance": "Cosine"})
    rest.upsert(c, [{"id": 1, "vector": [0, 0, 0]}])
    assert rest.retrieve(c, 1)[1]["vector"] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("distance", ["Dot", "Euclid", "Manhattan"])
def test_other_distances_keep_the_vector(
    rest: Rest, grpc: Grpc, new_collection: Callable[..., str], distance: str
) -> None:
    c = new_collection(vectors={"size": 3, "distance": distance})
    vector = np.array([0.1, 1e-30, -3.4e38], np.float32).tolist()
    rest.upsert(c, [{"id": 1, "vector": vector}])
    assert [np.float32(x) for x in rest.retrieve(c, 1)[1]["vector"]] == vector
    assert read_over_grpc(grpc, c) == vector


ROUNDED: dict[str, tuple[list[float], list[float]]] = {
    "float16": ([0.1, 1.5, -2.0], np.array([0.1, 1.5, -2.0], np.float16).tolist()),
    "uint8": ([0.0, 17.0, 255.0], [0.0, 17.0, 255.0]),
}


@pytest.mark.parametrize("datatype", ROUNDED)
def test_narrow_datatypes_round(rest: Rest, grpc: Grpc, new_collection: Callable[..., str], datatype: str) -> None:
    written, kept = ROUNDED[datatype]
    c = new_collection(vectors={"size": 3, "distance": "Dot", "datatype": datatype})
    assert rest.info(c)["config"]["params"]["vectors"]["datatype"] == datatype
    rest.upsert(c, [{"id": 1, "vector": written}])
    assert_same(kept, rest.retrieve(c, 1)[1]["vector"])
    assert_same(kept, read_over_grpc(grpc, c))


WRONG: dict[str, Json] = {
    "too short": {"dense": [1, 2]},
    "too long": {"dense": [1, 2, 3, 4]},
    "empty": {"dense": []},
    "unknown name": {"nope": [1, 2, 3]},
    "one row of many": {"multi": [[1, 2], [3, 4, 5]]},
    "sparse of unequal lengths": {"words": {"indices": [1, 2], "values": [1]}},
    "sparse with a repeated index": {"words": {"indices": [1, 1], "values": [1, 2]}},
    "dense for sparse": {"words": [1, 2, 3]},
    "a number in words": {"dense": [1, 2, "3"]},
}


@pytest.mark.parametrize("vector", WRONG.values(), ids=WRONG)
def test_a_vector_of_a_wrong_shape_is_refused(rest: Rest, named: str, vector: Json) -> None:
    answer = rest.try_upsert(named, [{"id": 1, "vector": vector}])
    assert answer.status in {400, 422}
    assert answer.error
    assert rest.count(named) == 0


def test_a_wrong_dimension_names_both(rest: Rest, grpc: Grpc, collection: str) -> None:
    text = "Vector dimension error: expected dim: 4, got 3"
    assert rest.try_upsert(collection, [{"id": 1, "vector": [1, 2, 3]}]).error == f"Wrong input: {text}"
    with pytest.raises(RpcError) as refused:
        write_over_grpc(grpc, collection, [1, 2, 3])
    assert refused.value.code() is StatusCode.INVALID_ARGUMENT
    assert text in refused.value.details()


def test_a_query_of_a_wrong_dimension_is_refused(rest: Rest, collection: str) -> None:
    """How a client notices that the alias serves another encoder."""
    rest.upsert(collection, [{"id": 1, "vector": [1, 2, 3, 4]}])
    answer = rest.call("POST", f"/collections/{collection}/points/query", {"query": [1, 2, 3]})
    assert answer.status == 400
    assert answer.error == "Wrong input: Vector dimension error: expected dim: 4, got 3"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_cannot_carry_what_is_no_number(rest: Rest, collection: str, value: float) -> None:
    body = json.dumps({"points": [{"id": 1, "vector": [1, 2, 3, value]}]})
    answer = rest.send("PUT", f"/collections/{collection}/points?wait=true", body)
    assert answer.status == 400
    assert answer.error.startswith("Format error in JSON body: ")
    assert rest.count(collection) == 0


def test_grpc_lets_nan_in(grpc: Grpc, collection: str) -> None:
    """So a verification has to look for it."""
    write_over_grpc(grpc, collection, [1, 2, 3, float("nan")])
    assert [bool(np.isnan(x)) for x in read_over_grpc(grpc, collection)] == [False, False, False, True]


def test_a_vector_can_be_added_and_dropped_in_place(rest: Rest, new_collection: Callable[..., str]) -> None:
    named = new_collection(vectors=VECTORS, sparse_vectors=SPARSE)
    rest.upsert(named, [{"id": 1, "vector": POINT}])
    path = f"/collections/{named}/vectors/extra"
    rest.ok("PUT", f"{path}?wait=true", {"dense": {"size": 2, "distance": "Cosine"}})
    assert rest.info(named)["config"]["params"]["vectors"]["extra"] == {"size": 2, "distance": "Cosine"}
    assert rest.count(named, {"must_not": [{"has_vector": "extra"}]}) == 1
    body = {"points": [{"id": 1, "vector": {"extra": [0, 2]}}]}
    rest.ok("PUT", f"/collections/{named}/points/vectors?wait=true", body)
    assert rest.retrieve(named, 1)[1]["vector"] == {**POINT, "extra": [0.0, 1.0]}
    rest.ok("DELETE", f"{path}?wait=true")
    assert "extra" not in rest.info(named)["config"]["params"]["vectors"]
    assert rest.retrieve(named, 1)[1]["vector"] == POINT
