"""Barriers, and what is read of the replicas around them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from teal.domain.epoch import Epoch, Replica
from teal.domain.errors import TerminalError, TransientError
from teal.qdrant.admin import Admin
from teal.qdrant.barrier import TRANSFER, Barriers, replicas_of
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.peers import Peer, Peers

ONE, TWO = Peer(1, "http://q-0:6333"), Peer(2, "http://q-1:6333")
BOTH = Peers((ONE, TWO), (), 5)


class Server:
    """Two peers with a replica of shard 0 each. `barriers`: the answers to them, in order; then all pass."""

    def __init__(self) -> None:
        self.op_nums = {"q-0": 7, "q-1": 17}
        self.named = {"q-0": 1, "q-1": 2}
        self.starts = {"q-0": "a", "q-1": "b"}
        self.barriers: list[httpx.Response | Exception] = []
        self.sent: list[httpx.Request] = []
        self.commit = 5
        self.telemetry_status = 200

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path, host = request.url.path, request.url.host
        if path == "/cluster":
            return _ok({"status": "enabled", "peer_id": self.named[host], "raft_info": {"commit": self.commit}})
        if path == "/telemetry":
            return self._telemetry(host)
        if path.endswith("/cluster"):
            local = [{"shard_id": 0, "state": "Active"}]
            remote = [{"shard_id": 0, "peer_id": 2, "state": "Active"}]
            return _ok({"peer_id": 1, "local_shards": local, "remote_shards": remote, "shard_transfers": []})
        assert path == "/collections/blue/points/delete"
        self.sent.append(request)
        answer = self.barriers.pop(0) if self.barriers else _ok({"operation_id": 3, "status": "completed"})
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _telemetry(self, host: str) -> httpx.Response:
        if self.telemetry_status != 200:
            return httpx.Response(self.telemetry_status, json={"status": {"error": "no"}})
        shard = {"id": 0, "local": {"update_queue": {"length": 0, "op_num": self.op_nums[host]}}}
        return _ok(
            {
                "id": host,
                "app": {"startup": self.starts[host]},
                "cluster": {"status": {"peer_id": self.named[host]}},
                "collections": {"collections": [{"id": "blue", "shards": [shard]}]},
            }
        )


def _ok(result: Any) -> httpx.Response:
    return httpx.Response(200, json={"result": result, "status": "ok"})


def refused(status: int) -> httpx.Response:
    return httpx.Response(status, json={"status": {"error": "Rate limiting exceeded. Retry after 60s"}})


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def barriers(server: Server) -> AsyncIterator[Barriers]:
    async with Admin(Endpoint("http://q-0:6333"), transport=httpx.MockTransport(server)) as admin:
        yield Barriers(admin, "blue", BOTH)


async def test_a_barrier_is_a_deletion_by_filter_that_waits(server: Server, barriers: Barriers) -> None:
    assert await barriers.barrier()
    assert await barriers.barrier(TWO)
    assert [request.url.host for request in server.sent] == ["q-0", "q-1"]
    assert {request.url.query for request in server.sent} == {b"wait=true"}
    bodies = [json.loads(request.content) for request in server.sent]
    ids = [body["filter"]["must"][0]["has_id"] for body in bodies]
    assert all(len(each) == 1 for each in ids)
    assert ids[0] != ids[1]
    assert (barriers.passed, barriers.unsure) == (2, 0)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(refused(429), id="refused"),
        pytest.param(refused(500), id="failed on a shard"),
        pytest.param(httpx.ReadTimeout("timed out"), id="no answer"),
        pytest.param(_ok({"operation_id": 3, "status": "acknowledged"}), id="not applied yet"),
        pytest.param(_ok({"operation_id": 3, "status": "wait_timeout"}), id="waited too long"),
    ],
)
async def test_any_other_answer_passes_no_barrier(
    server: Server, barriers: Barriers, answer: httpx.Response | Exception
) -> None:
    server.barriers = [answer]
    assert not await barriers.barrier()
    assert (barriers.passed, barriers.unsure) == (0, 1)
    found = await barriers.look()
    assert found is not None
    assert found.unsure == 1


async def test_a_collection_that_is_gone_and_a_key_that_is_refused_are_errors(
    server: Server, barriers: Barriers
) -> None:
    gone = {"status": {"error": "Not found: Collection `blue` doesn't exist!"}}
    server.barriers = [httpx.Response(404, json=gone), httpx.Response(403, json={})]
    with pytest.raises(TransientError):
        await barriers.barrier()
    with pytest.raises(TerminalError):
        await barriers.barrier()


async def test_a_look_has_every_replica_under_its_peers_id(server: Server, barriers: Barriers) -> None:
    await barriers.barrier()
    found = await barriers.look()
    assert found is not None
    assert found.op_nums == {(1, 0): 7, (2, 0): 17}
    assert (found.barriers, found.unsure, found.queued, found.missing) == (1, 0, 0, ())
    replicas = (Replica(0, 1), Replica(0, 2))
    assert found.epoch == Epoch("", replicas, ((1, "q-0 a"), (2, "q-1 b")), 5, 0)


async def test_an_epoch_that_ends_during_the_look_is_none(
    server: Server, barriers: Barriers, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = server._telemetry

    def and_decide(host: str) -> httpx.Response:
        server.commit += 1
        return told(host)

    monkeypatch.setattr(server, "_telemetry", and_decide)
    found = await barriers.look()
    assert found is not None
    assert found.epoch is None


async def test_another_peer_behind_the_address_is_noticed(server: Server, barriers: Barriers) -> None:
    server.named["q-1"] = 3
    found = await barriers.look()
    assert found is not None
    assert found.op_nums == {(1, 0): 7}
    assert found.missing == ("at http://q-1:6333 peer 3 answers instead of peer 2",)


async def test_a_server_without_telemetry_tells_nothing(server: Server, barriers: Barriers) -> None:
    server.telemetry_status = 403
    assert await barriers.look() is None


def test_a_shard_that_is_being_moved_is_not_at_rest() -> None:
    placement = {
        "peer_id": 1,
        "local_shards": [{"shard_id": 0, "state": "Active"}],
        "remote_shards": [],
        "shard_transfers": [{"shard_id": 0, "from": 1, "to": 2}],
    }
    assert replicas_of(placement) == (Replica(0, 1), Replica(0, 2, TRANSFER))
