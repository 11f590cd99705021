"""What only the embedded Qdrant has: faults on demand, several peers, and collections without a process.

How it answers ordinary calls is the conformance tests' affair.
"""

from __future__ import annotations

import ssl
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from qdrant_client.grpc import CountPoints, PointId, RetrievedPoint, ScrollPoints
from qdrant_client.grpc.points_service_pb2_grpc import PointsStub

from devkit.qdrant import EmbeddedQdrant
from tests.plugins.qdrant import Qdrant

Json = Any
TLS = Path(__file__).parent / "tls"
CONFIG = {"vectors": {"size": 4, "distance": "Dot"}}


def point(number: int) -> Json:
    return {"id": number, "vector": [number, 1, 2, 3], "payload": {"n": number}}


@pytest.fixture(scope="module")
def server(qdrant: Qdrant) -> EmbeddedQdrant:
    return qdrant.need_faults()


@pytest.fixture
def http(qdrant: Qdrant, server: EmbeddedQdrant) -> Iterator[httpx.Client]:
    with qdrant.client() as client:
        yield client


@pytest.fixture
def docs(http: httpx.Client, prefix: str) -> str:
    """A collection of three points."""
    name = f"{prefix}docs"
    http.put(f"/collections/{name}", json=CONFIG).raise_for_status()
    upsert(http, name, 1, 2, 3).raise_for_status()
    return name


def upsert(http: httpx.Client, name: str, *numbers: int) -> httpx.Response:
    points = [point(number) for number in numbers]
    return http.put(f"/collections/{name}/points", params={"wait": "true"}, json={"points": points})


def count(http: httpx.Client, name: str) -> int:
    answer = http.post(f"/collections/{name}/points/count", json={"exact": True}).raise_for_status()
    return int(answer.json()["result"]["count"])


def aliases(http: httpx.Client, prefix: str) -> dict[str, str]:
    listed = http.get("/aliases").raise_for_status().json()["result"]["aliases"]
    found = {each["alias_name"]: each["collection_name"] for each in listed}
    return {alias: target for alias, target in found.items() if alias.startswith(prefix)}


# ---- faults -----------------------------------------------------------------------------------------------------


def test_a_request_that_fails_before_has_no_effect(server: EmbeddedQdrant, http: httpx.Client, docs: str) -> None:
    server.faults(match=f"PUT /collections/{docs}/points", status=503, error="busy", times=2)
    refused = [upsert(http, docs, 4) for _ in range(2)]
    assert [answer.status_code for answer in refused] == [503, 503]
    assert refused[0].json()["status"]["error"] == "busy"
    assert count(http, docs) == 3
    assert upsert(http, docs, 4).is_success
    assert count(http, docs) == 4


def test_a_request_that_fails_after_has_its_effect(server: EmbeddedQdrant, http: httpx.Client, docs: str) -> None:
    alias = f"{docs}-live"
    server.faults(match="POST /collections/aliases", when="after", status=500, error="timeout")
    create = {"create_alias": {"collection_name": docs, "alias_name": alias}}
    assert http.post("/collections/aliases", json={"actions": [create]}).status_code == 500
    assert aliases(http, docs) == {alias: docs}


def test_a_dropped_connection_leaves_the_client_without_an_answer(
    server: EmbeddedQdrant, http: httpx.Client, docs: str
) -> None:
    server.faults(match=f"PUT /collections/{docs}/points", when="after", drop=True)
    with pytest.raises(httpx.TransportError):
        upsert(http, docs, 4)
    assert count(http, docs) == 4


def test_a_delayed_read_is_late_and_right(server: EmbeddedQdrant, http: httpx.Client, docs: str) -> None:
    server.faults(match=f"POST /collections/{docs}/points/count", delay=0.3)
    started = time.monotonic()
    assert count(http, docs) == 3
    assert time.monotonic() - started >= 0.3  # a lower bound, which no slow machine can break


def test_a_grpc_call_is_matched_by_its_method(server: EmbeddedQdrant, docs: str) -> None:
    server.faults(match="GRPC qdrant.Points/Count", drop=True)
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        points = PointsStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            points.Count(CountPoints(collection_name=docs, exact=True))
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        assert points.Count(CountPoints(collection_name=docs, exact=True)).result.count == 3


def test_a_full_disk_refuses_writes_and_serves_reads(
    server: EmbeddedQdrant, http: httpx.Client, docs: str
) -> None:
    server.faults(disk_full=True)
    assert upsert(http, docs, 4).status_code == 500
    assert count(http, docs) == 3
    server.faults()
    assert upsert(http, docs, 4).is_success


def test_a_lagging_view_shows_the_aliases_of_before(server: EmbeddedQdrant, http: httpx.Client, docs: str) -> None:
    server.faults(alias_lag=600)
    before = aliases(http, docs)
    create = {"create_alias": {"collection_name": docs, "alias_name": f"{docs}-live"}}
    http.post("/collections/aliases", json={"actions": [create]}).raise_for_status()
    assert aliases(http, docs) == before == {}
    assert count(http, f"{docs}-live") == 3
    server.faults()
    assert aliases(http, docs) == {f"{docs}-live": docs}


def test_an_unknown_fault_is_refused(server: EmbeddedQdrant) -> None:
    with pytest.raises(httpx.HTTPStatusError):
        server.faults(match="GET /", tmies=3)


# ---- optimizing on a copy ---------------------------------------------------------------------------------------


def test_writes_of_every_kind_survive_the_change_to_an_optimized_copy(http: httpx.Client, prefix: str) -> None:
    """The copy is told what the shard took meanwhile: the two differ in nothing that a client can see."""
    name = f"{prefix}big"
    path = f"/collections/{name}"
    deferred = {"vectors": {"size": 64, "distance": "Dot"}, "optimizers_config": {"indexing_threshold": 0}}
    http.put(path, json=deferred).raise_for_status()
    wide = [[(row * 7 + column * 3) % 11 + 0.5 for column in range(64)] for row in range(4000)]
    for start in range(0, 4000, 1000):
        rows = [{"id": row, "vector": wide[row], "payload": {"n": row}} for row in range(start, start + 1000)]
        http.put(f"{path}/points?wait=true", json={"points": rows}).raise_for_status()
    op_num = telemetry(http, name)["update_queue"]["op_num"]
    http.patch(path, json={"optimizers_config": {"indexing_threshold": 10}}).raise_for_status()
    assert http.get(path).json()["result"]["status"] == "yellow"

    writes = 0
    while http.get(path).json()["result"]["status"] == "yellow" or not writes:
        if writes == 1500:  # on a slow machine: the rows of the next ones would overlap
            continue
        row = writes
        http.post(f"{path}/points/payload", json={"payload": {"w": writes}, "points": [row]}).raise_for_status()
        http.post(f"{path}/points/delete", json={"points": [3999 - row]}).raise_for_status()
        http.put(f"{path}/points", json={"points": [{"id": 5000 + row, "vector": wide[row]}]}).raise_for_status()
        missing = {"payload": {"w": 1}, "points": [99999]}
        assert http.post(f"{path}/points/payload", json=missing, params={"wait": "true"}).status_code == 404
        writes += 1

    info = http.get(path).json()["result"]
    assert info["indexed_vectors_count"] > 0
    assert http.get(f"{path}/optimizations").json()["result"]["running"] == []
    assert telemetry(http, name)["update_queue"]["op_num"] == op_num + 4 * writes
    expected = {row: {"n": row} for row in range(4000)}
    for row in range(writes):
        expected[row] = {**expected[row], "w": row}
        del expected[3999 - row]
        expected[5000 + row] = {}
    listed = http.post(f"{path}/points/scroll", json={"limit": 20000}).json()["result"]["points"]
    assert {each["id"]: each["payload"] for each in listed} == expected


def telemetry(http: httpx.Client, name: str) -> Json:
    listed = http.get("/telemetry?details_level=3").json()["result"]["collections"]["collections"]
    return next(each for each in listed if each["id"] == name)["shards"][0]["local"]


# ---- a server of one's own --------------------------------------------------------------------------------------


def test_more_collections_than_processes(tmp_path: Path) -> None:
    """Those that give up their process keep their counts, and have their points when asked again."""
    names = [f"c{number}" for number in range(6)]
    with EmbeddedQdrant.start(tmp_path, max_workers=2) as own, httpx.Client(base_url=own.url, timeout=60) as http:
        for name in names:
            http.put(f"/collections/{name}", json=CONFIG).raise_for_status()
            upsert(http, name, 1, 2).raise_for_status()
        assert [http.get(f"/collections/{name}").json()["result"]["points_count"] for name in names] == [2] * 6
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(lambda name: count(http, name), names * 3)) == [2] * 18
        upsert(http, "c0", 3).raise_for_status()
        assert count(http, "c0") == 3


def test_keys_and_a_certificate(tmp_path: Path) -> None:
    pair = {"tls_cert": TLS / "server.pem", "tls_key": TLS / "server.key"}
    options = {"api_key": "all", "read_only_api_key": "some", **pair}
    with EmbeddedQdrant.start(tmp_path, **options) as own:
        assert own.url.startswith("https://")
        with httpx.Client(base_url=own.url, verify=ssl.create_default_context(cafile=TLS / "ca.pem")) as http:
            assert http.get("/").is_success
            missing = http.get("/collections")
            assert (missing.status_code, missing.text) == (
                401,
                "Must provide an API key or an Authorization bearer token",
            )
            wrong = http.get("/collections", headers={"api-key": "none"})
            assert (wrong.status_code, wrong.text) == (401, "Invalid API key or JWT")
            reader, owner = {"api-key": "some"}, {"Authorization": "Bearer all"}
            assert http.get("/collections", headers=reader).is_success
            assert http.put("/collections/a", json=CONFIG, headers=reader).status_code == 403
            assert http.put("/collections/a", json=CONFIG, headers=owner).is_success
        credentials = grpc.ssl_channel_credentials((TLS / "ca.pem").read_bytes())
        with grpc.secure_channel(f"127.0.0.1:{own.grpc_port}", credentials) as channel:
            scroll = PointsStub(channel).Scroll
            answer = scroll(ScrollPoints(collection_name="a"), metadata=[("api-key", "some")])
            assert list(answer.result) == list[RetrievedPoint]()
            assert not answer.HasField("next_page_offset"), PointId()
            with pytest.raises(grpc.RpcError) as refused:
                scroll(ScrollPoints(collection_name="a"))
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.skipif(sys.platform != "linux", reason="other systems answer on 127.0.0.1 only")
def test_peers_after_the_first_lag(tmp_path: Path) -> None:
    with EmbeddedQdrant.start(tmp_path, peers=3, peer_lag=600) as own:
        with httpx.Client(base_url=own.url) as http:
            cluster = http.get("/cluster").json()["result"]
            http.put("/collections/a", json=CONFIG).raise_for_status()
            create = {"create_alias": {"collection_name": "a", "alias_name": "live"}}
            http.post("/collections/aliases", json={"actions": [create]}).raise_for_status()
            assert aliases(http, "live") == {"live": "a"}
        hosts = sorted(httpx.URL(peer["uri"]).host for peer in cluster["peers"].values())
        assert hosts == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
        for host in hosts[1:]:
            with httpx.Client(base_url=f"http://{host}:{own.rest_port}") as peer:
                assert aliases(peer, "live") == {}
                assert peer.get("/collections/a").is_success
