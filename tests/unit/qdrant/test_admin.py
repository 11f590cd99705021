"""What `Admin` sends, and what it makes of every kind of answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from teal.domain.errors import TerminalError, TransientError, UnknownOutcomeError
from teal.domain.observed import Version
from teal.qdrant.admin import Admin
from teal.qdrant.endpoint import Endpoint

Answer = httpx.Response | Exception


class FakeServer:
    """Answers by method and URL path; remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self.answers: dict[str, Answer | Callable[[httpx.Request], Answer]] = {}

    def on(self, call: str, answer: Any, status: int = 200) -> None:
        self.answers[call] = httpx.Response(status, json=answer) if not isinstance(answer, Exception) else answer

    def ok(self, call: str, result: Any) -> None:
        self.on(call, {"result": result, "status": "ok"})

    def refuse(self, call: str, status: int, message: str) -> None:
        self.on(call, {"status": {"error": message}}, status)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        path = request.url.raw_path.decode()
        call = f"{request.method} {path}"
        answer = self.answers.get(call) or self.answers.get(f"{request.method} {request.url.host}{path}")
        assert answer is not None, f"unexpected {call} to {request.url.host}"
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, httpx.Response)
        return answer

    def body(self) -> Any:
        return json.loads(self.asked[-1].content)


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
async def admin(server: FakeServer) -> AsyncIterator[Admin]:
    endpoint = Endpoint("http://qdrant:6333", api_key="s3cret-key")
    async with Admin(endpoint, transport=httpx.MockTransport(server)) as admin:
        yield admin


async def test_every_request_carries_the_key_and_is_counted(server: FakeServer, admin: Admin) -> None:
    server.ok("GET /collections", {"collections": [{"name": "a"}, {"name": "b"}]})
    assert await admin.names() == {"a", "b"}
    assert await admin.names() == {"a", "b"}
    assert server.asked[0].headers["api-key"] == "s3cret-key"
    assert admin.requests == {"names": 2}


async def test_version(server: FakeServer, admin: Admin) -> None:
    server.on("GET /", {"title": "qdrant - vector search engine", "version": "1.19.0-dev"})
    assert await admin.version() == Version(1, 19, 0)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>It works!</html>"),
        httpx.Response(200, json={"name": "elsewhere"}),
        httpx.Response(200, json=["a list"]),
        httpx.Response(404, text="not found"),
    ],
)
async def test_something_else_at_the_url(server: FakeServer, admin: Admin, answer: httpx.Response) -> None:
    server.answers["GET /"] = answer
    with pytest.raises(TerminalError, match=r"spec\.qdrant\.url") as caught:
        await admin.version()
    assert caught.value.reason == "NotQdrant"


async def test_a_failing_proxy_is_not_taken_for_another_server(server: FakeServer, admin: Admin) -> None:
    server.answers["GET /"] = httpx.Response(503, text="no healthy upstream")
    with pytest.raises(TransientError, match="no healthy upstream"):
        await admin.version()


async def test_an_answer_without_a_result_is_no_answer_of_qdrant(server: FakeServer, admin: Admin) -> None:
    server.on("GET /collections", {"collections": []})
    with pytest.raises(TerminalError) as caught:
        await admin.names()
    assert caught.value.reason == "NotQdrant"


async def test_a_missing_collection_is_none(server: FakeServer, admin: Admin) -> None:
    server.refuse("GET /collections/a%20b", 404, "Not found: Collection `a b` doesn't exist!")
    assert await admin.collection("a b") is None


async def test_create_tells_whether_it_was_there(server: FakeServer, admin: Admin) -> None:
    server.ok("PUT /collections/green", result=True)
    assert await admin.create("green", {"vectors": {"size": 4, "distance": "Dot"}})
    server.refuse("PUT /collections/green", 409, "Wrong input: Collection `green` already exists!")
    assert not await admin.create("green", {"vectors": {"size": 4, "distance": "Dot"}})


async def test_marks_are_one_patch_of_metadata(server: FakeServer, admin: Admin) -> None:
    server.ok("PATCH /collections/green", result=True)
    await admin.mark("green", {"teal.dev/owner": {"uid": "u"}, "teal.dev/fence": None})
    assert server.body() == {"metadata": {"teal.dev/owner": {"uid": "u"}, "teal.dev/fence": None}}


async def test_an_alias_moves_by_exactly_one_action(server: FakeServer, admin: Admin) -> None:
    server.ok("POST /collections/aliases", result=True)
    await admin.point_alias("docs", "docs-v2-12345678")
    create = {"create_alias": {"collection_name": "docs-v2-12345678", "alias_name": "docs"}}
    assert server.body() == {"actions": [create]}


async def test_an_alias_named_like_a_collection(server: FakeServer, admin: Admin) -> None:
    server.refuse("POST /collections/aliases", 409, "Wrong input: Collection `docs` already exists!")
    with pytest.raises(TerminalError, match=r"spec\.alias") as caught:
        await admin.point_alias("docs", "docs-v2-12345678")
    assert caught.value.reason == "AliasIsCollection"


async def test_an_alias_to_a_collection_that_is_gone(server: FakeServer, admin: Admin) -> None:
    server.refuse("POST /collections/aliases", 404, "Not found: Collection `green` doesn't exist!")
    with pytest.raises(TransientError) as caught:
        await admin.point_alias("docs", "green")
    assert caught.value.reason == "CollectionGone"


async def test_a_write_without_an_answer_is_unknown(server: FakeServer, admin: Admin) -> None:
    server.on("POST /collections/aliases", httpx.ReadTimeout("timed out"))
    with pytest.raises(UnknownOutcomeError):
        await admin.point_alias("docs", "green")


async def test_index_fields_are_escaped(server: FakeServer, admin: Admin) -> None:
    server.ok(
        "DELETE /collections/green/index/a%5B%5D.b%2Fc?wait=true", {"operation_id": 1, "status": "completed"}
    )
    await admin.delete_index("green", "a[].b/c")
    server.ok("PUT /collections/green/index?wait=true", {"operation_id": 2, "status": "completed"})
    await admin.create_index("green", "tenant", {"type": "keyword", "is_tenant": True})
    assert server.body() == {"field_name": "tenant", "field_schema": {"type": "keyword", "is_tenant": True}}


async def test_snapshots(server: FakeServer, admin: Admin) -> None:
    entry = {"name": "s1", "size": 130560, "creation_time": "2026-11-21T00:41:04", "checksum": "da3b"}
    server.ok("POST /collections/blue/snapshots?wait=true", entry)
    server.ok("GET /collections/blue/snapshots", [entry])
    taken = await admin.snapshot("blue")
    assert (taken.name, taken.size, taken.created) == ("s1", 130560, "2026-11-21T00:41:04")
    assert await admin.snapshots("blue") == [taken]


class TestPeers:
    def cluster(self, server: FakeServer) -> None:
        peers = {"1": {"uri": "http://q-0.q:6335/"}, "2": {"uri": "http://q-1.q:6335/"}}
        for host, peer in (("qdrant", 1), ("q-0.q", 1), ("q-1.q", 2)):
            server.ok(f"GET {host}/cluster", {"status": "enabled", "peer_id": peer, "peers": peers})

    def telemetry(self, shard: int, op_num: int) -> dict[str, Any]:
        local = {"update_queue": {"length": 0, "op_num": op_num}}
        shards = [{"id": shard, "local": local}, {"id": 1 - shard, "local": None}]
        return {"collections": {"collections": [{"id": "blue", "shards": shards}, {"id": "other", "shards": []}]}}

    async def test_a_single_node_is_its_own_only_peer(self, server: FakeServer, admin: Admin) -> None:
        server.ok("GET /cluster", {"status": "disabled"})
        server.ok("GET /aliases", {"aliases": [{"alias_name": "docs", "collection_name": "blue"}]})
        assert await admin.aliases_by_peer() == {"http://qdrant:6333": {"docs": "blue"}}

    async def test_every_peer_is_asked_for_aliases(self, server: FakeServer, admin: Admin) -> None:
        self.cluster(server)
        for host, target in (("q-0.q", "green"), ("q-1.q", "blue")):
            server.ok(f"GET {host}/aliases", {"aliases": [{"alias_name": "docs", "collection_name": target}]})
        assert await admin.aliases_by_peer() == {
            "http://q-0.q:6333": {"docs": "green"},
            "http://q-1.q:6333": {"docs": "blue"},
        }

    async def test_a_peer_that_does_not_answer_is_named(self, server: FakeServer, admin: Admin) -> None:
        self.cluster(server)
        server.ok("GET q-0.q/aliases", {"aliases": []})
        server.on("GET q-1.q/aliases", httpx.ConnectError("Connection refused"))
        with pytest.raises(TransientError, match=r"http://q-1\.q:6333"):
            await admin.aliases_by_peer()

    async def test_quiescence_covers_the_shards_of_all_peers(self, server: FakeServer, admin: Admin) -> None:
        self.cluster(server)
        server.ok("GET q-0.q/telemetry?details_level=3", self.telemetry(0, 14))
        server.ok("GET q-1.q/telemetry?details_level=3", self.telemetry(1, 9))
        found = await admin.quiescence("blue")
        assert found is not None
        assert found.op_nums == {("http://q-0.q:6333", 0): 14, ("http://q-1.q:6333", 1): 9}

    @pytest.mark.parametrize("status", [403, 404, 501])
    async def test_one_silent_peer_proves_nothing(self, server: FakeServer, admin: Admin, status: int) -> None:
        self.cluster(server)
        server.ok("GET q-0.q/telemetry?details_level=3", self.telemetry(0, 14))
        server.refuse("GET q-1.q/telemetry?details_level=3", status, "Forbidden")
        assert await admin.quiescence("blue") is None

    async def test_a_collection_on_no_peer_proves_nothing(self, server: FakeServer, admin: Admin) -> None:
        server.ok("GET /cluster", {"status": "disabled"})
        server.ok("GET /telemetry?details_level=3", self.telemetry(0, 14))
        assert await admin.quiescence("missing") is None

    async def test_one_address_for_several_peers_proves_nothing_and_is_no_error(
        self, server: FakeServer, admin: Admin
    ) -> None:
        self.cluster(server)
        for host in ("q-0.q", "q-1.q"):
            server.on(f"GET {host}/cluster", httpx.ConnectError("name resolution failed"))
        server.ok("GET /aliases", {"aliases": [{"alias_name": "docs", "collection_name": "blue"}]})
        assert await admin.quiescence("blue") is None
        assert await admin.aliases_by_peer() == {"http://qdrant:6333": {"docs": "blue"}}


async def test_patching_at_once_needs_no_event_loop(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[httpx.Request] = []

    def answer(self: httpx.Client, request: httpx.Request, **_: Any) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={"result": True}, request=request)

    monkeypatch.setattr(httpx.Client, "send", answer)
    admin.patch_at_once("a b", {"strict_mode_config": {"enabled": False}})
    (request,) = sent
    assert (request.method, str(request.url)) == ("PATCH", "http://qdrant:6333/collections/a%20b")
    assert request.headers["api-key"] == "s3cret-key"
    assert json.loads(request.content) == {"strict_mode_config": {"enabled": False}}
