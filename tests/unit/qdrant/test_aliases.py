"""No alias is written unless it is where it was seen, on every peer that answers."""

from __future__ import annotations

import json

import httpx
import pytest

from teal.domain.errors import TransientError
from teal.qdrant.admin import Admin
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.pool import Server

ENDPOINT = Endpoint("http://q-0:6333")
OURS = ("blue", "green")


class Cluster:
    """Aliases by peer; a peer whose aliases are `None` does not answer."""

    def __init__(self, **peers: dict[str, str] | None) -> None:
        self.peers = {name.replace("_", "-"): aliases for name, aliases in peers.items()}
        self.actions: list[dict[str, dict[str, str]]] = []
        self.server = Server(ENDPOINT, admin=Admin(ENDPOINT, transport=httpx.MockTransport(self.answer)))

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/cluster":
            return self.cluster(request.url.host)
        if request.method == "POST":
            self.actions += json.loads(request.content)["actions"]
            return self.ok(True)
        aliases = self.peers[request.url.host]
        if aliases is None:
            raise httpx.ConnectError("refused")
        return self.ok({"aliases": [{"alias_name": a, "collection_name": name} for a, name in aliases.items()]})

    def cluster(self, host: str) -> httpx.Response:
        peers = {str(number): {"uri": f"http://{name}:6335"} for number, name in enumerate(self.peers)}
        return self.ok({"status": "enabled", "peer_id": list(self.peers).index(host), "peers": peers})

    @staticmethod
    def ok(result: object) -> httpx.Response:
        return httpx.Response(200, json={"result": result, "status": "ok"})


def create(name: str) -> dict[str, dict[str, str]]:
    return {"create_alias": {"alias_name": "docs", "collection_name": name}}


@pytest.mark.parametrize(
    ("present", "expected"),
    [("blue", "blue"), (None, None), ("green", "blue"), ("green", None)],
    ids=["as seen", "absent as seen", "there already", "there already, and was absent"],
)
async def test_an_alias_moves_from_where_it_was_seen(present: str | None, expected: str | None) -> None:
    cluster = Cluster(q_0={"docs": present} if present else {})
    await cluster.server.set_alias("docs", "green", expected=expected, ours=OURS)
    assert cluster.actions == [create("green")]


@pytest.mark.parametrize(
    ("present", "expected", "reason"),
    [
        ("blue", None, "AliasMoved"),
        ("theirs", None, "AliasNotOwned"),
        (None, "blue", "AliasMoved"),
        ("theirs", "blue", "AliasNotOwned"),
        ("blue", "gone", "AliasMoved"),
    ],
)
async def test_an_alias_that_is_elsewhere_stays_there(
    present: str | None, expected: str | None, reason: str
) -> None:
    cluster = Cluster(q_0={"docs": present} if present else {})
    with pytest.raises(TransientError, match="'docs'") as caught:
        await cluster.server.set_alias("docs", "green", expected=expected, ours=OURS)
    assert caught.value.reason == reason
    assert cluster.actions == []


async def test_one_peer_that_shows_another_target_is_enough_to_refuse() -> None:
    cluster = Cluster(q_0={"docs": "blue"}, q_1={"docs": "theirs"})
    with pytest.raises(TransientError, match="http://q-1:6333") as caught:
        await cluster.server.set_alias("docs", "green", expected="blue", ours=OURS)
    assert caught.value.reason == "AliasNotOwned"
    assert cluster.actions == []


async def test_a_peer_that_is_away_does_not_keep_the_alias_from_being_restored() -> None:
    cluster = Cluster(q_0={}, q_1=None)
    await cluster.server.set_alias("docs", "blue", expected=None, ours=OURS)
    assert cluster.actions == [create("blue")]


async def test_without_an_answer_of_the_server_itself_nothing_is_written() -> None:
    cluster = Cluster(q_0=None, q_1={})
    with pytest.raises(TransientError) as caught:
        await cluster.server.set_alias("docs", "blue", expected=None, ours=OURS)
    assert caught.value.reason == "QdrantUnreachable"
    assert cluster.actions == []


@pytest.mark.parametrize("present", ["blue", None])
async def test_an_alias_is_removed_from_where_it_was_seen(present: str | None) -> None:
    cluster = Cluster(q_0={"docs": present} if present else {})
    await cluster.server.remove_alias("docs", expected="blue", ours=OURS)
    assert cluster.actions == [{"delete_alias": {"alias_name": "docs"}}]


@pytest.mark.parametrize(("present", "reason"), [("green", "AliasMoved"), ("theirs", "AliasNotOwned")])
async def test_an_alias_that_has_moved_is_not_removed(present: str, reason: str) -> None:
    cluster = Cluster(q_0={"docs": present})
    with pytest.raises(TransientError) as caught:
        await cluster.server.remove_alias("docs", expected="blue", ours=OURS)
    assert caught.value.reason == reason
    assert cluster.actions == []


async def test_peers_that_show_another_target_are_named() -> None:
    cluster = Cluster(q_0={"docs": "green"}, q_1={"docs": "blue"}, q_2={})
    assert await cluster.server.lagging_peers("docs", "green") == ["http://q-1:6333", "http://q-2:6333"]
