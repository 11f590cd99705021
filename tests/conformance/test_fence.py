"""The fence of a cut-over: strict mode with `write_rate_limit: 1` holds writers back, readers never.

One write of one point a minute still passes; everything larger is refused before it reaches the log. Lifting the
fence frees writers at once, though the limit stays in the configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc as grpc_library
import pytest
from qdrant_client import grpc as q

from tests.conformance.client import Answer, Grpc, Rest

Json = Any

FENCE = {"enabled": True, "write_rate_limit": 1}
TOO_LARGE = (
    "Rate limiting exceeded: Write rate limit exceeded, "
    "request larger than rate limiter capacity, please try to split your request"
)
USED_UP = (
    "Rate limiting exceeded: Write rate limit exceeded: "
    "Operation requires 1 tokens but only 0.0 were available. Retry after 60s"
)
POINTS = [{"id": i, "vector": [i, 0, 0, 1], "payload": {"n": i}} for i in (1, 2, 3)]

WRITES_OF_TWO: dict[str, tuple[str, str, Json]] = {
    "upsert": ("PUT", "/points", {"points": POINTS[:2]}),
    "delete": ("POST", "/points/delete", {"points": [1, 2]}),
    "set payload": ("POST", "/points/payload", {"payload": {"x": 1}, "points": [1, 2]}),
    "update vectors": (
        "PUT",
        "/points/vectors",
        {"points": [{"id": i, "vector": [1, 1, 1, 1]} for i in (1, 2)]},
    ),
}


@pytest.fixture
def fenced(rest: Rest, new_collection: Callable[..., str]) -> str:
    c = new_collection()
    rest.upsert(c, POINTS)
    rest.patch(c, strict_mode_config=FENCE)
    return c


@pytest.mark.parametrize(("method", "path", "body"), WRITES_OF_TWO.values(), ids=WRITES_OF_TWO)
def test_a_write_of_several_points_is_refused_and_never_reaches_the_log(
    rest: Rest, fenced: str, method: str, path: str, body: Json
) -> None:
    before = rest.update_queues(fenced)
    answer = rest.call(method, f"/collections/{fenced}{path}?wait=true", body)
    assert (answer.status, answer.error) == (429, TOO_LARGE)
    assert rest.update_queues(fenced) == before


def test_one_point_passes_and_the_next_waits_a_minute(rest: Rest, fenced: str) -> None:
    assert rest.try_upsert(fenced, POINTS[:1]).status == 200
    refused = rest.try_upsert(fenced, POINTS[:1])
    assert (refused.status, refused.error) == (429, USED_UP)
    assert refused.headers["retry-after"] == "60"


def test_grpc_writers_are_told_the_same(grpc: Grpc, rest: Rest, fenced: str) -> None:
    rest.upsert(fenced, POINTS[:1])
    selector = q.PointsSelector(points=q.PointsIdsList(ids=[q.PointId(num=1)]))
    with pytest.raises(grpc_library.RpcError) as refused:
        grpc.call(grpc.points.Delete, q.DeletePoints(collection_name=fenced, wait=True, points=selector))
    assert refused.value.code() is grpc_library.StatusCode.RESOURCE_EXHAUSTED
    assert refused.value.details() == USED_UP


def test_reads_go_on(rest: Rest, fenced: str) -> None:
    for _ in range(5):
        assert rest.count(fenced) == 3
        assert rest.ids(fenced) == [1, 2, 3]
        assert rest.versions(fenced, [1, 2, 3], [1, 1, 1, 1]).keys() == {1, 2, 3}


def test_writes_pass_as_soon_as_the_fence_is_lifted(rest: Rest, fenced: str) -> None:
    rest.upsert(fenced, POINTS[:1])
    rest.patch(fenced, strict_mode_config={"enabled": False})
    assert rest.try_upsert(fenced, POINTS).status == 200
    assert rest.info(fenced)["config"]["strict_mode_config"] == {"enabled": False, "write_rate_limit": 1}


def test_each_fence_begins_with_one_write_again(rest: Rest, fenced: str) -> None:
    rest.upsert(fenced, POINTS[:1])
    rest.patch(fenced, strict_mode_config={"enabled": False})
    rest.patch(fenced, strict_mode_config={"enabled": True})
    assert rest.try_upsert(fenced, POINTS[:1]).status == 200
    assert rest.try_upsert(fenced, POINTS[:1]).status == 429


def test_a_limit_can_be_raised_but_not_taken_away(rest: Rest, fenced: str) -> None:
    rest.patch(fenced, strict_mode_config={"write_rate_limit": None})
    assert rest.try_upsert(fenced, POINTS).status == 429
    rest.patch(fenced, strict_mode_config={"write_rate_limit": 600})
    assert rest.try_upsert(fenced, POINTS).status == 200
    assert rest.info(fenced)["config"]["strict_mode_config"] == {"enabled": True, "write_rate_limit": 600}


def test_a_fence_on_one_collection_leaves_the_others_alone(
    rest: Rest, fenced: str, new_collection: Callable[..., str]
) -> None:
    other = new_collection()
    assert rest.try_upsert(other, POINTS).status == 200


def test_the_fence_follows_the_collection_not_the_alias(
    rest: Rest, fenced: str, prefix: str, new_collection: Callable[..., str]
) -> None:
    """Writers that go through the alias are free the moment it points elsewhere."""
    alias, other = f"{prefix}alias", new_collection()
    rest.point_alias(alias, fenced)
    assert rest.try_upsert(alias, POINTS).status == 429
    rest.point_alias(alias, other)
    assert rest.try_upsert(alias, POINTS).status == 200
    assert rest.count(other) == 3


STRICT: dict[str, tuple[Json, Callable[[Rest, str], Answer]]] = {
    "exact search": (
        {"search_allow_exact": False},
        lambda rest, c: rest.call(
            "POST", f"/collections/{c}/points/query", {"query": [1, 1, 1, 1], "params": {"exact": True}}
        ),
    ),
    "large pages": (
        {"max_query_limit": 2},
        lambda rest, c: rest.call("POST", f"/collections/{c}/points/scroll", {"limit": 3}),
    ),
    "large queries": (
        {"max_query_limit": 2},
        lambda rest, c: rest.call("POST", f"/collections/{c}/points/query", {"query": [1, 1, 1, 1], "limit": 3}),
    ),
    "large prefetches": (
        {"max_query_limit": 2},
        lambda rest, c: rest.call(
            "POST",
            f"/collections/{c}/points/query",
            {"prefetch": {"limit": 3}, "query": {"formula": 1.0}, "limit": 2},
        ),
    ),
    "long lists": (
        {"condition_max_size": 2},
        lambda rest, c: rest.call(
            "POST", f"/collections/{c}/points/scroll", {"filter": {"must": [{"has_id": [1, 2, 3]}]}}
        ),
    ),
    "long lists in prefetches": (
        {"condition_max_size": 2},
        lambda rest, c: rest.call(
            "POST",
            f"/collections/{c}/points/query",
            {"prefetch": {"filter": {"must": [{"has_id": [1, 2, 3]}]}}, "query": {"formula": 1.0}},
        ),
    ),
    "large upserts": ({"upsert_max_batchsize": 2}, lambda rest, c: rest.try_upsert(c, POINTS)),
}


@pytest.mark.parametrize(("limits", "call"), STRICT.values(), ids=STRICT)
def test_strict_mode_forbids_what_it_says(
    rest: Rest, new_collection: Callable[..., str], limits: Json, call: Callable[[Rest, str], Answer]
) -> None:
    c = new_collection()
    rest.upsert(c, POINTS[:2])
    assert call(rest, c).status == 200
    rest.patch(c, strict_mode_config={"enabled": True, **limits})
    refused = call(rest, c)
    assert refused.status == 400
    assert "Help: " in refused.error
