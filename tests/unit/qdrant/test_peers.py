"""Peers are who they say they are, and where one cannot be asked, nothing is concluded about it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from teal.domain.errors import TransientError
from teal.qdrant.admin import Admin
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.peers import SINGLE, Peer, Peers, identify

HOSTS = {1: "q-0", 2: "q-1", 3: "q-2"}


class Cluster:
    """Three peers, and a service in front; `answers`: which peer answers at a host, `None` for nobody."""

    def __init__(self, peers: int = 3) -> None:
        self.listed = {peer: HOSTS[peer] for peer in range(1, peers + 1)}
        self.answers: dict[str, int | None] = {"qdrant": 1, **{host: peer for peer, host in self.listed.items()}}
        self.asked: list[str] = []
        self.enabled = True

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.host)
        peer = self.answers[request.url.host]
        if peer is None:
            raise httpx.ConnectError("connection refused")
        if not self.enabled:
            return httpx.Response(200, json={"result": {"status": "disabled"}})
        peers = {str(each): {"uri": f"http://{host}:6335"} for each, host in self.listed.items()}
        told = {"status": "enabled", "peer_id": peer, "peers": peers, "raft_info": {"commit": 17}}
        return httpx.Response(200, json={"result": told})


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
async def admin(cluster: Cluster) -> AsyncIterator[Admin]:
    async with Admin(Endpoint("http://qdrant:6333"), transport=httpx.MockTransport(cluster)) as admin:
        yield admin


def at(peer: int) -> Peer:
    return Peer(peer, f"http://{HOSTS[peer]}:6333")


async def test_every_peer_by_its_own_address_the_asked_one_first(cluster: Cluster, admin: Admin) -> None:
    cluster.answers["qdrant"] = 2
    assert await identify(admin) == Peers((at(2), at(1), at(3)), (), 17)


async def test_one_node_is_whole(cluster: Cluster, admin: Admin) -> None:
    cluster.enabled = False
    found = await identify(admin)
    assert found == Peers((Peer(SINGLE, "http://qdrant:6333"),))
    assert found.whole


async def test_a_cluster_of_one_needs_no_other_address(cluster: Cluster, admin: Admin) -> None:
    cluster.listed = {1: "q-0"}
    cluster.answers["q-0"] = None
    found = await identify(admin)
    assert found.found == (Peer(1, "http://qdrant:6333"),)
    assert found.whole


async def test_one_address_for_several_peers(cluster: Cluster, admin: Admin) -> None:
    cluster.answers |= {"q-0": None, "q-1": None, "q-2": None}
    found = await identify(admin)
    assert found.found == (Peer(1, "http://qdrant:6333"),)
    assert [text.split(" at ")[0] for text in found.missing] == [
        "peer 2 does not answer",
        "peer 3 does not answer",
    ]
    assert found.hidden
    assert not found.whole
    found.require_reachable()


async def test_one_peer_that_answers_for_all_counts_once(cluster: Cluster, admin: Admin) -> None:
    cluster.answers |= {"q-0": 1, "q-1": 1, "q-2": 1}
    found = await identify(admin)
    assert found.found == (at(1),)
    assert found.missing == (
        "at http://q-1:6333 peer 1 answers instead of peer 2",
        "at http://q-2:6333 peer 1 answers instead of peer 3",
    )
    assert found.hidden


async def test_a_peer_that_is_down_is_waited_for(cluster: Cluster, admin: Admin) -> None:
    cluster.answers["q-2"] = None
    found = await identify(admin)
    assert found.found == (at(1), at(2))
    assert not found.hidden
    with pytest.raises(TransientError, match="peer 3 does not answer at http://q-2:6333") as caught:
        found.require_reachable()
    assert caught.value.reason == "PeerUnreachable"


async def test_an_address_that_leads_nowhere_is_not_asked_every_time(cluster: Cluster, admin: Admin) -> None:
    cluster.answers["q-2"] = None
    first = await identify(admin)
    asked = cluster.asked.count("q-2")
    assert await identify(admin) == first
    assert cluster.asked.count("q-2") == asked


async def test_without_an_answer_of_its_own_address_nothing_is_known(cluster: Cluster, admin: Admin) -> None:
    cluster.answers["qdrant"] = None
    with pytest.raises(TransientError) as caught:
        await identify(admin)
    assert caught.value.reason == "QdrantUnreachable"
