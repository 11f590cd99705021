"""A snapshot counts as whole only if the peers' snapshots together hold all shards, and all points."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from teal.domain.errors import TransientError
from teal.domain.marks import StoredSnapshot
from teal.qdrant import snapshots
from teal.qdrant.admin import Admin
from teal.qdrant.endpoint import Endpoint

Json = dict[str, Any]
ROOTS = ["http://q-0:6333", "http://q-1:6333", "http://q-2:6333"]


class Cluster:
    """Three peers, and the shards of `blue` on them: peer → shard → points."""

    def __init__(self) -> None:
        self.shards: list[dict[int, int]] = [{0: 40}, {1: 60}, {}]
        self.state = "Active"
        self.transfers: list[Json] = []
        self.points = 100
        self.size = 1000
        self.forgets = False
        self.addresses = [0, 1, 2]
        """Which peer answers at each address."""
        self.taken: list[list[str]] = [[], [], []]
        self.after_snapshot = lambda: None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        peer = self.addresses[int(request.url.host[-1])]
        return httpx.Response(200, json={"result": self._answer(request, peer), "status": "ok"})

    def _answer(self, request: httpx.Request, peer: int) -> Any:
        match request.method, request.url.path.split("/")[1:]:
            case "GET", ["cluster"]:
                peers = {str(n): {"uri": f"http://q-{n}:6335/"} for n in range(3)}
                return {"status": "enabled", "peer_id": peer, "peers": peers}
            case "GET", ["aliases"]:
                return {"aliases": []}
            case "GET", ["collections", "blue", "cluster"]:
                return self._placement(peer)
            case "POST", ["collections", "blue", "points", "count"]:
                return {"count": self.points}
            case "POST", ["collections", "blue", "snapshots"]:
                name = f"blue-{peer}-{len(self.taken[peer])}"
                self.taken[peer] += [] if self.forgets else [name]
                self.after_snapshot()
                return self._shown(name)
            case "GET", ["collections", "blue", "snapshots"]:
                return [self._shown(name) for name in self.taken[peer]]
            case "DELETE", ["collections", "blue", "snapshots", name]:
                self.taken[peer] = [each for each in self.taken[peer] if each != name]
                return True
        raise AssertionError(f"unexpected {request.method} {request.url}")

    def _shown(self, name: str) -> Json:
        return {"name": name, "size": self.size, "creation_time": "2026-11-21T00:41:04"}

    def _placement(self, peer: int) -> Json:
        local = [{"shard_id": n, "points_count": c, "state": self.state} for n, c in self.shards[peer].items()]
        elsewhere = [(n, other) for other in range(3) if other != peer for n in self.shards[other]]
        remote = [{"shard_id": n, "peer_id": other, "state": "Active"} for n, other in elsewhere]
        return {
            "peer_id": peer,
            "local_shards": local,
            "remote_shards": remote,
            "shard_transfers": self.transfers,
        }


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
async def admin(cluster: Cluster) -> AsyncIterator[Admin]:
    async with Admin(Endpoint(ROOTS[0]), transport=httpx.MockTransport(cluster)) as admin:
        yield admin


async def refused(admin: Admin) -> str:
    with pytest.raises(TransientError) as caught:
        await snapshots.take_whole(admin, "blue")
    assert caught.value.reason == "SnapshotIncomplete"
    assert caught.value.retry_after
    return caught.value.message


async def test_one_on_each_peer_that_holds_shards(cluster: Cluster, admin: Admin) -> None:
    taken = await snapshots.take_whole(admin, "blue")
    assert taken == [StoredSnapshot(ROOTS[0], "blue-0-0"), StoredSnapshot(ROOTS[1], "blue-1-0")]
    assert cluster.taken == [["blue-0-0"], ["blue-1-0"], []]
    assert snapshots.said(taken).startswith(
        "; its snapshots are blue-0-0 at http://q-0:6333, blue-1-0 at http://q-1:6333."
    )


async def test_a_replica_counts_once(cluster: Cluster, admin: Admin) -> None:
    cluster.shards = [{0: 40, 1: 60}, {1: 60}, {0: 39}]
    assert len(await snapshots.take_whole(admin, "blue")) == 3
    cluster.points = 101
    assert "100 points, a count 101" in await refused(admin)


async def test_a_shard_that_no_peer_has_in_good_state(cluster: Cluster, admin: Admin) -> None:
    cluster.state = "Dead"
    assert "none of its shards" in await refused(admin)
    assert cluster.taken == [[], [], []]


async def test_a_peer_that_stands_for_another_one(cluster: Cluster, admin: Admin) -> None:
    """One address for several peers, as behind a load balancer: the same one answers three times."""
    cluster.addresses = [0, 0, 0]
    assert "shards 1 are in good state on none" in await refused(admin)


async def test_a_shard_that_is_being_moved(cluster: Cluster, admin: Admin) -> None:
    cluster.transfers = [{"shard_id": 0, "from": 0, "to": 2}]
    assert "being moved" in await refused(admin)


async def test_shards_that_moved_meanwhile_leave_nothing(cluster: Cluster, admin: Admin) -> None:
    def move() -> None:
        cluster.shards = [{}, {1: 60}, {0: 40}]

    cluster.after_snapshot = move
    assert "moved meanwhile" in await refused(admin)
    assert cluster.taken == [[], [], []]


@pytest.mark.parametrize("fault", ["empty", "not listed"])
async def test_a_snapshot_that_is_not_there(cluster: Cluster, admin: Admin, fault: str) -> None:
    cluster.size, cluster.forgets = (0, False) if fault == "empty" else (1000, True)
    assert "does not list" in await refused(admin)
    assert cluster.taken == [[], [], []]
