"""`Points` against a running Qdrant: what passes through, what a version says, and what a failure means."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest
from qdrant_client import grpc as grpc_types

from teal.domain.errors import HeldError, TerminalError, TransientError, UnknownOutcomeError
from teal.domain.schema import DenseVector, Distance, Schema
from teal.qdrant import wire
from teal.qdrant.admin import Admin
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.points import Points, Probe
from teal.qdrant.wire import Point, RawId
from tests.plugins.qdrant import Qdrant

UUID_TEXT = "5c56c793-69f3-4fbf-87e6-c4bf54c28c26"
PAYLOAD = {"text": "été", "n": 7, "x": 1.0, "no": None, "deep": {"b": [1, {"c": True}], "a": "z"}}
UNNAMED_BODY = {"vectors": {"size": 4, "distance": "Dot"}}
NAMED_BODY = {
    "vectors": {
        "text": {"size": 4, "distance": "Dot"},
        "late": {"size": 2, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}},
    },
    "sparse_vectors": {"bm25": {}},
}
PROBE = Probe("", 4)


@pytest.fixture
def endpoint(qdrant: Qdrant) -> Endpoint:
    return Endpoint(qdrant.url, qdrant.grpc_port, qdrant.api_key)


@pytest.fixture
async def points(endpoint: Endpoint) -> AsyncIterator[Points]:
    async with Points(endpoint, streams=2) as points:
        yield points


@pytest.fixture
async def blue(endpoint: Endpoint, prefix: str) -> str:
    """An empty collection with an unnamed vector of size 4."""
    async with Admin(endpoint) as admin:
        await admin.create(f"{prefix}blue", UNNAMED_BODY)
    return f"{prefix}blue"


def numbered(count: int, start: int = 0) -> list[Point]:
    vectors = wire.dense_vectors([[1.0, i, 0, 0] for i in range(start, start + count)])
    return [Point(wire.raw_id(start + i), [], vectors[i]) for i in range(count)]


async def all_ids(points: Points, collection: str, page: int) -> list[RawId]:
    return [raw async for ids in points.ids(collection, page) for raw in ids]


async def versions(points: Points, collection: str, page: int = 1000) -> dict[RawId, int]:
    found: dict[RawId, int] = {}
    async for scanned in points.scan(collection, PROBE, page):
        found |= scanned
    return found


async def test_ids_are_the_servers_own_bytes_in_its_order(points: Points, blue: str) -> None:
    raw = wire.raw_id(UUID_TEXT)
    await points.upsert(blue, [*numbered(7), Point(raw, [], wire.dense_vectors([[1, 2, 3, 4]])[0])])
    expected = [*(wire.raw_id(i) for i in range(7)), wire.raw_id(UUID(UUID_TEXT))]
    for page in (1, 3, 8, 100):
        assert await all_ids(points, blue, page) == expected
    assert [ids async for ids in points.ids(blue, start=wire.raw_id(6))] == [expected[6:]]
    assert await points.count(blue) == 8


async def test_an_empty_collection_has_no_pages(points: Points, blue: str) -> None:
    assert await all_ids(points, blue, 10) == []
    assert await versions(points, blue) == {}


async def test_a_copied_point_is_the_same_point(
    endpoint: Endpoint, points: Points, qdrant: Qdrant, prefix: str
) -> None:
    """Written and read as JSON, copied as bytes: every kind of value and vector arrives."""
    vector = {
        "text": [1.5, -2.0, 0.25, 3.0],
        "late": [[1.0, 2.0], [3.0, 4.0]],
        "bm25": {"indices": [3, 9], "values": [0.5, 2.0]},
    }
    written = [
        {"id": 1, "vector": vector, "payload": PAYLOAD},
        {"id": UUID_TEXT, "vector": {"text": [0.0, 0.0, 0.0, 1.0]}, "payload": {}},
        {"id": 2, "vector": {}, "payload": {"only": "payload"}},
    ]
    source, target = f"{prefix}source", f"{prefix}target"
    async with Admin(endpoint) as admin:
        await admin.create(source, NAMED_BODY)
        await admin.create(target, NAMED_BODY)
    with qdrant.client() as client:
        client.put(f"/collections/{source}/points?wait=true", json={"points": written}).raise_for_status()
        ids = await all_ids(points, source, 10)
        await points.upsert(target, await points.fetch(source, ids))
        assert read_all(client, target) == read_all(client, source)
        assert len(read_all(client, target)) == 3


def read_all(client: httpx.Client, collection: str) -> list[object]:
    body = {"limit": 100, "with_vector": True, "with_payload": True}
    answer = client.post(f"/collections/{collection}/points/scroll", json=body).raise_for_status()
    found: list[object] = answer.json()["result"]["points"]
    return found


async def test_fetching_parts(points: Points, blue: str) -> None:
    entries = payload_entries({"text": "hello", "n": 3})
    await points.upsert(blue, [Point(wire.raw_id(1), entries, wire.dense_vectors([[1, 2, 3, 4]])[0])])
    (whole,) = await points.fetch(blue, [wire.raw_id(1), wire.raw_id(99)])
    assert wire.payload_value(whole.payload, "text") == "hello"
    found = wire.read_dense(whole.vectors, "")
    assert found is not None
    assert found.tolist() == [1, 2, 3, 4]
    (lean,) = await points.fetch(blue, [wire.raw_id(1)], vectors=False)
    assert not wire.has_vector(lean.vectors, "")
    assert wire.payload_value(lean.payload, "n") == 3
    (bare,) = await points.fetch(blue, [wire.raw_id(1)], payload=False)
    assert list(bare.payload) == []


def payload_entries(payload: dict[str, str | int]) -> list[bytes]:
    values = {
        key: grpc_types.Value(integer_value=v) if isinstance(v, int) else grpc_types.Value(string_value=v)
        for key, v in payload.items()
    }
    point = grpc_types.RetrievedPoint(payload=values).SerializeToString()
    return list(wire.RetrievedPoint.FromString(point).payload)


async def test_versions_move_with_every_change_and_only_then(points: Points, qdrant: Qdrant, blue: str) -> None:
    await points.upsert(blue, numbered(50))
    before = await versions(points, blue, page=7)
    assert set(before) == {wire.raw_id(i) for i in range(50)}
    assert await versions(points, blue, page=50) == before
    await points.upsert(blue, numbered(2, start=10))
    await points.delete(blue, [wire.raw_id(20), wire.raw_id(999)])
    with qdrant.client() as client:
        body = {"payload": {"a": 1}, "points": [30]}
        client.post(f"/collections/{blue}/points/payload?wait=true", json=body).raise_for_status()
    after = await versions(points, blue)
    assert {wire.plain_id(raw) for raw in before if after.get(raw) != before[raw]} == {10, 11, 20, 30}
    assert wire.raw_id(20) not in after


async def test_versions_of_points_that_are_not_there(points: Points, blue: str) -> None:
    await points.upsert(blue, numbered(3))
    found = await points.versions(blue, [wire.raw_id(1), wire.raw_id(77)], PROBE)
    assert set(found) == {wire.raw_id(1)}


async def test_points_without_the_probes_vector_are_told_by_their_content(
    endpoint: Endpoint, points: Points, qdrant: Qdrant, prefix: str
) -> None:
    name, probe = f"{prefix}named", Probe("text", 4)
    async with Admin(endpoint) as admin:
        await admin.create(name, NAMED_BODY)
    dense = wire.dense_vectors([[1, 2, 3, 4]], "text")[0]
    await points.upsert(name, [Point(wire.raw_id(1), [], dense), Point(wire.raw_id(2), [], b"")])
    pages = [page async for page in points.scan(name, probe)]
    again = [page async for page in points.scan(name, probe)]
    assert set(pages[0]) == {wire.raw_id(1), wire.raw_id(2)}
    assert pages == again
    with qdrant.client() as client:
        body = {"payload": {"a": 1}, "points": [2]}
        client.post(f"/collections/{name}/points/payload?wait=true", json=body).raise_for_status()
    (changed,) = [page async for page in points.scan(name, probe)]
    assert changed[wire.raw_id(1)] == pages[0][wire.raw_id(1)]
    assert changed[wire.raw_id(2)] != pages[0][wire.raw_id(2)]


async def test_a_scan_that_is_given_up_leaves_nothing_running(points: Points, blue: str) -> None:
    await points.upsert(blue, numbered(20))
    scan = points.scan(blue, PROBE, 5)
    assert len(await anext(scan)) == 5
    await scan.aclose()


async def test_insert_only_leaves_what_is_there(points: Points, blue: str) -> None:
    await points.upsert(blue, numbered(2))
    newer = [Point(point.id, [], wire.dense_vectors([[9, 9, 9, 9]])[0]) for point in numbered(3)]
    await points.upsert(blue, newer, only="insert")
    found = {p.id: wire.read_dense(p.vectors, "") for p in await points.fetch(blue, [p.id for p in newer])}
    assert [found[wire.raw_id(i)].tolist() for i in range(3)] == [[1, 0, 0, 0], [1, 1, 0, 0], [9, 9, 9, 9]]


async def test_update_only_brings_back_nothing(points: Points, blue: str) -> None:
    await points.upsert(blue, numbered(2))
    newer = [Point(point.id, [], wire.dense_vectors([[9, 9, 9, 9]])[0]) for point in numbered(3)]
    await points.upsert(blue, newer, only="update")
    found = {p.id: wire.read_dense(p.vectors, "") for p in await points.fetch(blue, [p.id for p in newer])}
    assert {point: row.tolist() for point, row in found.items()} == {
        wire.raw_id(0): [9, 9, 9, 9],
        wire.raw_id(1): [9, 9, 9, 9],
    }


async def test_large_batches_are_split(points: Points, blue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("teal.qdrant.points.BATCH_BYTES", 1000)
    await points.upsert(blue, numbered(200))
    assert await points.count(blue) == 200
    assert points.requests["upsert"] > 5


async def test_searches(points: Points, endpoint: Endpoint, blue: str, prefix: str) -> None:
    await points.upsert(blue, numbered(10))
    best = await points.query(blue, [0, 1, 0, 0], 3, exact=True)
    assert [(wire.plain_id(hit.id), hit.score) for hit in best] == [(9, 9.0), (8, 8.0), (7, 7.0)]
    like = await points.query(blue, wire.raw_id(9), 1)
    assert wire.plain_id(like[0].id) == 8
    named = f"{prefix}named"
    async with Admin(endpoint) as admin:
        await admin.create(named, NAMED_BODY)
    assert await points.query(named, [[1, 0], [0, 1]], 3, name="late") == []


async def test_points_that_do_not_fit_hold_the_migration(points: Points, blue: str) -> None:
    wrong = [Point(wire.raw_id(1), [], wire.dense_vectors([[1, 2, 3]])[0])]
    with pytest.raises(HeldError, match="expected dim: 4, got 3") as caught:
        await points.upsert(blue, wrong)
    assert caught.value.reason == "PointsRefused"


async def test_a_collection_that_is_gone(points: Points, prefix: str) -> None:
    with pytest.raises(TransientError) as caught:
        await all_ids(points, f"{prefix}missing", 10)
    assert caught.value.reason == "CollectionGone"
    with pytest.raises(TransientError) as caught:
        await points.upsert(f"{prefix}missing", numbered(1))
    assert caught.value.reason == "CollectionGone"


async def test_a_fenced_collection_says_when(points: Points, endpoint: Endpoint, blue: str) -> None:
    async with Admin(endpoint) as admin:
        await admin.patch(blue, {"strict_mode_config": {"enabled": True, "write_rate_limit": 1}})
        with pytest.raises(TransientError) as caught:
            await points.upsert(blue, numbered(2))
        assert caught.value.reason == "QdrantBusy"


async def test_strict_limits_are_kept_to(points: Points, endpoint: Endpoint, blue: str) -> None:
    strict = {"enabled": True, "upsert_max_batchsize": 7, "max_query_limit": 4}
    async with Admin(endpoint) as admin:
        await admin.patch(blue, {"strict_mode_config": strict})
    await points.upsert(blue, numbered(20))
    assert await points.count(blue) == 20
    assert len(await versions(points, blue)) == 20
    refused = points.requests["upsert"] - 3, points.requests["scroll"] - 5, points.requests["versions"] - 5
    assert refused == (1, 1, 0)
    assert len(await points.query(blue, [1, 0, 0, 0], 9)) == 4


async def test_a_rate_of_reads_is_kept_to(points: Points, endpoint: Endpoint, blue: str) -> None:
    """What can never be allowed at once is asked for in parts, and each part when the server says."""
    await points.upsert(blue, numbered(90))
    async with Admin(endpoint) as admin:
        await admin.patch(blue, {"strict_mode_config": {"enabled": True, "read_rate_limit": 60}})
    found = await points.fetch(blue, [point.id for point in numbered(90)])
    assert len(found) == len({point.id for point in found}) == 90


async def test_a_rate_of_writes_is_kept_to(points: Points, endpoint: Endpoint, blue: str) -> None:
    async with Admin(endpoint) as admin:
        await admin.patch(blue, {"strict_mode_config": {"enabled": True, "write_rate_limit": 60}})
    await points.upsert(blue, numbered(40))
    with pytest.raises(TransientError) as caught:
        await points.upsert(blue, numbered(90))
    assert caught.value.retry_after


async def test_a_limit_of_nothing_is_an_error(points: Points, endpoint: Endpoint, blue: str) -> None:
    async with Admin(endpoint) as admin:
        await admin.patch(blue, {"strict_mode_config": {"enabled": True, "upsert_max_batchsize": 0}})
    with pytest.raises(TerminalError, match="Limit exceeded 5 > 0") as caught:
        await points.upsert(blue, numbered(5))
    assert caught.value.reason == "StrictModeLimit"


async def test_exact_searches_that_are_forbidden(points: Points, endpoint: Endpoint, blue: str) -> None:
    await points.upsert(blue, numbered(5))
    async with Admin(endpoint) as admin:
        await admin.patch(blue, {"strict_mode_config": {"enabled": True, "search_allow_exact": False}})
    with pytest.raises(TerminalError, match="search_allow_exact: true") as caught:
        await versions(points, blue)
    assert caught.value.reason == "ExactSearchForbidden"


async def test_asking_for_nothing_asks_nobody(points: Points, blue: str) -> None:
    assert await points.fetch(blue, []) == []
    assert await points.versions(blue, [], PROBE) == {}
    await points.upsert(blue, [])
    await points.delete(blue, [])
    assert not points.requests


async def test_nobody_listens(endpoint: Endpoint) -> None:
    async with Points(Endpoint(endpoint.url, grpc_port=1)) as points:
        with pytest.raises(TransientError) as caught:
            await all_ids(points, "any", 10)
        assert caught.value.reason == "QdrantUnreachable"
        with pytest.raises(TransientError) as caught:
            await points.upsert("any", numbered(1))
        assert not isinstance(caught.value, UnknownOutcomeError)


async def test_a_dropped_answer_leaves_a_write_unknown(points: Points, qdrant: Qdrant, blue: str) -> None:
    qdrant.need_faults().faults(match=r"GRPC qdrant\.Points/Upsert", when="after", drop=True)
    with pytest.raises(UnknownOutcomeError):
        await points.upsert(blue, numbered(1))
    assert await points.count(blue) == 1
    qdrant.need_faults().faults(match=r"GRPC qdrant\.Points/Count", drop=True)
    with pytest.raises(TransientError) as caught:
        await points.count(blue)
    assert caught.value.reason == "QdrantUnreachable"


def test_probes() -> None:
    small, large = DenseVector("b", 8, Distance.DOT), DenseVector("a", 768, Distance.DOT)
    late = DenseVector("late", 2, Distance.DOT, multivector="max_sim")
    assert Probe.of(Schema((large, small, late))) == Probe("b", 8)
    assert Probe.of(Schema((late,))) == Probe("late", 2, multivector=True)
    assert Probe.of(Schema((), sparse=("bm25",))) is None
