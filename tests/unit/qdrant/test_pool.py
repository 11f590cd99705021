"""Standing still costs the same for one resource and for a thousand, and what was changed is looked at again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from teal.domain.errors import TerminalError, UnknownOutcomeError
from teal.domain.marks import Carried, Checkpoint, Frozen, InStep
from teal.qdrant.admin import Admin
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.pool import QdrantPool, Server

ENDPOINT = Endpoint("http://qdrant:6333")


class FakeQdrant:
    """Collections and aliases that answer like Qdrant, and a clock."""

    def __init__(self, names: set[str], aliases: dict[str, str], version: str = "1.19.0") -> None:
        self.names, self.aliases, self.version = names, aliases, version
        self.now = 1000.0
        self.written: list[tuple[str, Any]] = []
        self.lost = False
        self.server = Server(
            ENDPOINT,
            clock=lambda: self.now,
            admin=Admin(ENDPOINT, transport=httpx.MockTransport(self.answer)),
        )

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if request.method != "GET":
            self.written.append((f"{request.method} {path}", json.loads(request.content or b"null")))
            if self.lost:
                raise httpx.ReadTimeout("no answer")
            return self.ok(True)
        if path == "/":
            return httpx.Response(200, json={"title": "qdrant", "version": self.version})
        if path == "/collections":
            return self.ok({"collections": [{"name": name} for name in self.names]})
        if path == "/aliases":
            aliases = [{"alias_name": a, "collection_name": c} for a, c in self.aliases.items()]
            return self.ok({"aliases": aliases})
        name = path.removeprefix("/collections/")
        if name not in self.names:
            return httpx.Response(404, json={"status": {"error": "Not found: Collection"}})
        params = {"vectors": {"size": 4, "distance": "Dot"}}
        return self.ok({"status": "green", "optimizer_status": "ok", "config": {"params": params}})

    @staticmethod
    def ok(result: Any) -> httpx.Response:
        return httpx.Response(200, json={"result": result, "status": "ok"})

    @property
    def asked(self) -> dict[str, int]:
        return dict(self.server.requests)


async def test_what_concerns_a_resource() -> None:
    names = {"docs-v1-00000000", "docs-v2-11111111", "legacy", "adopted", "other-v1-22222222", "docsx"}
    fake = FakeQdrant(names, {"docs": "legacy", "docs-next": "docs-v2-11111111", "other": "other-v1-22222222"})
    observed = await fake.server.observe("docs", "adopted")
    assert set(observed.states) == {"docs-v1-00000000", "docs-v2-11111111", "legacy", "adopted"}
    assert observed.names == names
    assert observed.aliases["other"] == "other-v1-22222222"
    await fake.server.close()


async def test_a_collection_with_the_alias_name_is_seen() -> None:
    fake = FakeQdrant({"docs"}, {})
    assert set((await fake.server.observe("docs")).states) == {"docs"}
    await fake.server.close()


async def test_idle_resources_share_two_listings_per_interval() -> None:
    aliases = {f"r{i:03}": f"r{i:03}-v1-00000000" for i in range(200)}
    fake = FakeQdrant(set(aliases.values()), aliases)

    async def everyone() -> None:
        await asyncio.gather(*(fake.server.observe(alias) for alias in aliases))

    await everyone()
    assert fake.asked == {"version": 1, "names": 1, "aliases": 1, "collection": 200}
    for _ in range(3):
        fake.now += 31
        await everyone()
    assert fake.asked == {"version": 1, "names": 4, "aliases": 4, "collection": 200}
    fake.now += 600
    await everyone()
    assert fake.asked["collection"] == 400
    await fake.server.close()


async def test_a_fresh_look_sees_what_was_just_done() -> None:
    fake = FakeQdrant({"docs-v1-00000000"}, {"docs": "docs-v1-00000000"})
    await fake.server.observe("docs")
    fake.now += 1
    fake.names.add("docs-v2-11111111")
    assert "docs-v2-11111111" not in (await fake.server.observe("docs")).names
    fresh = await fake.server.observe("docs", since=fake.server.now())
    assert "docs-v2-11111111" in fresh.states
    assert fake.asked["collection"] == 3
    await fake.server.close()


BLUE = "docs-v1-00000000"
WRITES: dict[str, tuple[Callable[[Server], Awaitable[Any]], bool]] = {
    "mark": (lambda server: server.mark(BLUE, Frozen("f", "")), False),
    "clear": (lambda server: server.mark(BLUE, clear=(Frozen.KEY,)), False),
    "patch": (lambda server: server.patch(BLUE, {"hnsw_config": {"m": 8}}), False),
    "create index": (lambda server: server.create_index(BLUE, "tenant", {"type": "keyword"}), False),
    "delete index": (lambda server: server.delete_index(BLUE, "tenant"), False),
    "create": (lambda server: server.create(BLUE, {}), True),
    "delete": (lambda server: server.delete(BLUE), True),
}
"""Each write, and whether it can change which collections and aliases there are."""


@pytest.mark.parametrize("lost", [False, True], ids=["answered", "answer lost"])
@pytest.mark.parametrize("name", WRITES)
async def test_our_own_change_is_seen_without_asking_for_freshness(name: str, lost: bool) -> None:
    write, listed = WRITES[name]
    fake = FakeQdrant({BLUE, "docs-v2-11111111"}, {"docs": BLUE})
    await fake.server.observe("docs")
    before = fake.asked
    fake.lost = lost
    if lost:
        with pytest.raises(UnknownOutcomeError):
            await write(fake.server)
    else:
        await write(fake.server)
    await fake.server.observe("docs")
    assert fake.asked["collection"] == before["collection"] + 1
    assert fake.asked["names"] == before["names"] + listed
    await fake.server.close()


async def test_marks_are_written_and_cleared_in_one_request() -> None:
    fake = FakeQdrant({BLUE}, {})
    about = InStep("docs-v0-22222222", at=5.0)
    cleared = (Checkpoint.KEY, Frozen.KEY, Carried.about("docs-v0-22222222"))
    await fake.server.mark(BLUE, Frozen("f", ""), about, clear=cleared)
    metadata = {
        "teal.dev/checkpoint": None,
        "teal.dev/frozen": {"fingerprint": "f", "epoch": ""},
        "teal.dev/carried/docs-v0-22222222": None,
        "teal.dev/in-step/docs-v0-22222222": {"at": 5.0},
    }
    await fake.server.mark(BLUE)
    assert fake.written == [(f"PATCH /collections/{BLUE}", {"metadata": metadata})]
    await fake.server.close()


async def test_a_deleted_collection_is_forgotten() -> None:
    fake = FakeQdrant({"docs-v1-00000000"}, {})
    """One of the same name is another one: nothing that was seen of the first is said of it."""
    await fake.server.observe("docs")
    fake.names.clear()
    fake.now += 31
    assert (await fake.server.observe("docs")).states == {}
    fake.names.add("docs-v1-00000000")
    fake.now += 31
    assert set((await fake.server.observe("docs")).states) == {"docs-v1-00000000"}
    assert fake.asked["collection"] == 2
    await fake.server.close()


async def test_an_old_server_is_refused() -> None:
    fake = FakeQdrant(set(), {}, version="1.16.2")
    with pytest.raises(TerminalError) as caught:
        await fake.server.observe("docs")
    assert caught.value.reason == "QdrantTooOld"
    await fake.server.close()


class TestPool:
    async def test_equal_endpoints_share_a_server(self) -> None:
        pool = QdrantPool()
        async with pool.use(Endpoint("http://qdrant:6333/")) as one, pool.use(ENDPOINT) as other:
            assert one is other
        async with pool.use(Endpoint("http://qdrant:6333", api_key="rotated")) as third:
            assert third is not one
        await pool.close()
        assert pool.servers == []

    async def test_unused_servers_are_closed_but_never_used_ones(self) -> None:
        now = 0.0
        closed: list[str] = []

        class Watched(Server):
            async def close(self) -> None:
                closed.append(self.endpoint.url)
                await super().close()

        pool = QdrantPool(make=Watched, idle_seconds=60, clock=lambda: now)
        a, b, c = (Endpoint(f"http://{name}:6333") for name in "abc")
        async with pool.use(a):
            async with pool.use(b):
                pass
            now += 61
            async with pool.use(c):
                pass
            assert closed == ["http://b:6333"]
            assert [server.endpoint for server in pool.servers] == [a, c]
        await pool.close()
