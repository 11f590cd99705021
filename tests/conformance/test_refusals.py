"""What the embedded server cannot do it refuses by name: no test may pass on a made-up success.

A real server does all of this, so these tests are for the embedded one alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from grpc import RpcError, StatusCode
from qdrant_client import grpc as q

from tests.conformance.client import Grpc, Rest
from tests.plugins.qdrant import Qdrant

Json = Any

REST: dict[str, tuple[str, str, Json]] = {
    "grouped queries": ("POST", "/collections/{c}/points/query/groups", {"query": [1, 1, 1, 1], "group_by": "n"}),
    "distance matrix": ("POST", "/collections/{c}/points/search/matrix/pairs", {"sample": 2}),
    "moving shards": ("POST", "/collections/{c}/cluster", {"drop_replica": {"shard_id": 0, "peer_id": 1}}),
    "shard keys": ("PUT", "/collections/{c}/shards", {"shard_key": "k"}),
    "shard snapshots": ("POST", "/collections/{c}/shards/0/snapshots", None),
    "snapshots of everything": ("POST", "/snapshots", None),
    "querying by a text": (
        "POST",
        "/collections/{c}/points/query",
        {"query": {"text": "hello", "model": "some/model"}},
    ),
    "vectors of another collection": (
        "POST",
        "/collections/{c}/points/query",
        {"query": 1, "lookup_from": {"collection": "other"}},
    ),
    "recovery from elsewhere": (
        "PUT",
        "/collections/{c}-new/snapshots/recover",
        {"location": "http://127.0.0.1:1/x.snapshot"},
    ),
}

# Parts that a served call does not take; refused as bad input or as not served.
PARTS: dict[str, tuple[str, str, Json]] = {
    "a shard key to write to": (
        "PUT",
        "/points?wait=true",
        {"points": [{"id": 1, "vector": [1, 2, 3, 4]}], "shard_key": "k"},
    ),
    "a shard key to scroll": ("POST", "/points/scroll", {"shard_key": "k"}),
    "a shard key to count": ("POST", "/points/count", {"shard_key": "k"}),
    "a shard key to query": ("POST", "/points/query", {"query": [1, 2, 3, 4], "shard_key": "k"}),
    "a formula of several parts": (
        "POST",
        "/points/query",
        {"prefetch": {}, "query": {"formula": {"sum": ["$score", 1.0]}}},
    ),
    "a text to embed": (
        "PUT",
        "/points?wait=true",
        {"points": [{"id": 1, "vector": {"text": "hello", "model": "some/model"}}]},
    ),
}

GRPC: dict[str, Callable[[Grpc, str], Any]] = {
    "recommend": lambda grpc, c: grpc.call(grpc.points.Recommend, q.RecommendPoints(collection_name=c, limit=1)),
    "grouped queries": lambda grpc, c: grpc.call(
        grpc.points.QueryGroups, q.QueryPointGroups(collection_name=c, group_by="n")
    ),
    "distance matrix": lambda grpc, c: grpc.call(
        grpc.points.SearchMatrixPairs, q.SearchMatrixPoints(collection_name=c)
    ),
    "shard keys": lambda grpc, c: grpc.call(
        grpc.collections.CreateShardKey, q.CreateShardKeyRequest(collection_name=c)
    ),
}


@pytest.fixture(autouse=True)
def _only_embedded(qdrant: Qdrant) -> None:
    if qdrant.embedded is None:
        pytest.skip("a real server does all of this")


@pytest.mark.parametrize(("method", "path", "body"), REST.values(), ids=REST)
def test_over_rest(rest: Rest, collection: str, method: str, path: str, body: Json) -> None:
    answer = rest.call(method, path.format(c=collection), body)
    assert answer.status == 501
    assert answer.error
    assert rest.count(collection) == 0


@pytest.mark.parametrize(("method", "path", "body"), PARTS.values(), ids=PARTS)
def test_parts_over_rest(rest: Rest, collection: str, method: str, path: str, body: Json) -> None:
    answer = rest.call(method, f"/collections/{collection}{path}", body)
    assert answer.status in {400, 501}
    assert answer.error
    assert rest.count(collection) == 0


@pytest.mark.parametrize("call", GRPC.values(), ids=GRPC)
def test_over_grpc(grpc: Grpc, collection: str, call: Callable[[Grpc, str], Any]) -> None:
    with pytest.raises(RpcError) as refused:
        call(grpc, collection)
    assert refused.value.code() is StatusCode.UNIMPLEMENTED
