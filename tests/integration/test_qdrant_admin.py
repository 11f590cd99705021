"""`Admin` and `QdrantPool` against a running Qdrant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devkit.paths import free_port
from devkit.qdrant import EmbeddedQdrant
from teal.domain.errors import TerminalError, TransientError, UnknownOutcomeError
from teal.domain.observed import Version
from teal.domain.schema import DenseVector, Distance
from teal.qdrant import wire
from teal.qdrant.admin import Admin
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.points import Points
from teal.qdrant.pool import QdrantPool
from teal.qdrant.wire import Point
from tests.plugins.qdrant import Qdrant

BODY = {"vectors": {"size": 4, "distance": "Dot"}, "optimizers_config": {"indexing_threshold": 0}}


@pytest.fixture
def endpoint(qdrant: Qdrant) -> Endpoint:
    return Endpoint(qdrant.url, qdrant.grpc_port, qdrant.api_key)


@pytest.fixture
async def admin(endpoint: Endpoint) -> AsyncIterator[Admin]:
    async with Admin(endpoint) as admin:
        yield admin


async def fill(endpoint: Endpoint, name: str, count: int) -> None:
    vectors = wire.dense_vectors([[1.0, i, 0, 0] for i in range(count)])
    async with Points(endpoint) as points:
        await points.upsert(name, [Point(wire.raw_id(i), [], vectors[i]) for i in range(count)])


async def test_a_collections_life(admin: Admin, prefix: str) -> None:
    name = f"{prefix}blue"
    assert await admin.version() >= Version(1, 17)
    assert await admin.collection(name) is None
    assert await admin.create(name, BODY)
    assert not await admin.create(name, BODY)
    assert name in await admin.names()
    state = await admin.collection(name)
    assert state is not None
    assert state.schema.vectors == (DenseVector("", 4, Distance.DOT),)
    assert await admin.delete(name)
    assert not await admin.delete(name)
    assert await admin.collection(name) is None


async def test_marks_are_merged_and_removed(admin: Admin, prefix: str) -> None:
    name = f"{prefix}blue"
    owner = {"uid": "u1", "collection": name, "revision": "12345678", "schemaVersion": "v3"}
    await admin.create(name, BODY)
    await admin.mark(name, {"teal.dev/owner": owner, "other": {"x": 1}})
    await admin.mark(name, {"other": None})
    state = await admin.collection(name)
    assert state is not None
    assert state.config["metadata"] == {"teal.dev/owner": owner}
    assert (state.revision, state.schema.schema_version) == ("12345678", "v3")


async def test_parameters_and_indexes_read_back(admin: Admin, prefix: str) -> None:
    name = f"{prefix}blue"
    await admin.create(name, BODY)
    await admin.patch(name, {"hnsw_config": {"m": 24}})
    await admin.create_index(name, "tenant", {"type": "keyword", "is_tenant": True})
    await admin.create_index(name, "doc.n", "integer")
    state = await admin.collection(name)
    assert state is not None
    assert state.config["hnsw_config"]["m"] == 24
    assert {field: found["data_type"] for field, found in state.payload_schema.items()} == {
        "tenant": "keyword",
        "doc.n": "integer",
    }
    await admin.delete_index(name, "doc.n")
    await admin.delete_index(name, "never_there")
    state = await admin.collection(name)
    assert state is not None
    assert set(state.payload_schema) == {"tenant"}


async def test_aliases(admin: Admin, prefix: str) -> None:
    blue, green, alias = f"{prefix}blue", f"{prefix}green", f"{prefix}alias"
    await admin.create(blue, BODY)
    await admin.create(green, BODY)
    await admin.point_alias(alias, blue)
    await admin.point_alias(alias, green)
    for found in (await admin.aliases_by_peer()).values():
        assert found[alias] == green
    with pytest.raises(TerminalError, match="collection is named") as caught:
        await admin.point_alias(blue, green)
    assert caught.value.reason == "AliasIsCollection"
    with pytest.raises(TransientError) as gone:
        await admin.point_alias(alias, f"{prefix}missing")
    assert gone.value.reason == "CollectionGone"
    assert (await admin.aliases())[alias] == green
    await admin.delete_alias(alias)
    await admin.delete_alias(alias)
    assert alias not in await admin.aliases()


async def test_quiescence_moves_with_every_write_and_no_read(
    admin: Admin, endpoint: Endpoint, prefix: str
) -> None:
    name = f"{prefix}blue"
    await admin.create(name, BODY | {"shard_number": 2})
    await fill(endpoint, name, 10)
    before = await admin.quiescence(name)
    assert before is not None
    assert await admin.count(name) == 10
    unchanged = await admin.quiescence(name)
    assert unchanged is not None
    assert before.same_as(unchanged)
    await fill(endpoint, name, 1)
    after = await admin.quiescence(name)
    assert after is not None
    assert not before.same_as(after)
    assert await admin.quiescence(f"{prefix}missing") is None


async def test_readiness_and_counts(admin: Admin, endpoint: Endpoint, prefix: str) -> None:
    name = f"{prefix}blue"
    await admin.create(name, BODY)
    await fill(endpoint, name, 10)
    assert (await admin.ready(name)).ready
    assert await admin.count(name, filter={"must": [{"has_id": [1, 2, 99]}]}) == 2
    assert await admin.optimizations(name) is not None
    assert (await admin.ready(f"{prefix}missing")).failed


async def test_snapshots(admin: Admin, prefix: str) -> None:
    name = f"{prefix}blue"
    await admin.create(name, BODY)
    taken = await admin.snapshot(name)
    assert taken.size > 0
    assert [found.name for found in await admin.snapshots(name)] == [taken.name]
    await admin.delete_snapshot(name, taken.name)
    assert await admin.snapshots(name) == []


async def test_what_the_server_refuses_is_terminal_in_its_own_words(admin: Admin, prefix: str) -> None:
    with pytest.raises(TerminalError, match="70000") as caught:
        await admin.create(f"{prefix}bad", {"vectors": {"size": 70_000, "distance": "Dot"}})
    assert caught.value.reason == "QdrantRefused"


async def test_nobody_listens() -> None:
    port = free_port()
    async with Admin(Endpoint(f"http://127.0.0.1:{port}")) as admin:
        with pytest.raises(TransientError, match=f"127.0.0.1:{port}") as caught:
            await admin.names()
        assert caught.value.reason == "QdrantUnreachable"
        with pytest.raises(TransientError) as caught:
            await admin.delete("anything")
        assert not isinstance(caught.value, UnknownOutcomeError)


async def test_a_dropped_answer_leaves_a_write_unknown(qdrant: Qdrant, admin: Admin, prefix: str) -> None:
    embedded = qdrant.need_faults()
    name, alias = f"{prefix}blue", f"{prefix}alias"
    await admin.create(name, BODY)
    embedded.faults(match="POST /collections/aliases", when="after", drop=True)
    with pytest.raises(UnknownOutcomeError):
        await admin.point_alias(alias, name)
    assert (await admin.aliases())[alias] == name


async def test_observation_follows_our_changes(endpoint: Endpoint, prefix: str) -> None:
    alias, blue = f"{prefix}docs", f"{prefix}docs-v1-00000000"
    pool = QdrantPool()
    async with pool.use(endpoint) as server:
        assert blue not in (await server.observe(alias)).names
        await server.create(blue, BODY)
        await server.set_alias(alias, blue, expected=None)
        observed = await server.observe(alias)
        assert observed.aliases[alias] == blue
        assert set(observed.states) == {blue}
        asked = dict(server.requests)
        await asyncio.gather(*(server.observe(alias) for _ in range(50)))
        assert dict(server.requests) == asked
    await pool.close()


async def test_a_collection_that_a_restart_left_unindexed_says_what_it_needs(tmp_path: Path) -> None:
    """Qdrant shows it grey and would leave it so for ever. A server of its own, for it is killed."""
    with EmbeddedQdrant.start(tmp_path) as server:
        endpoint = Endpoint(server.url, server.grpc_port)
        async with Admin(endpoint) as admin:
            await admin.create("docs", BODY)
            await fill(endpoint, "docs", 4000)
            assert (await admin.ready("docs")).ready
            await admin.patch("docs", {"optimizers_config": {"indexing_threshold": 10}})
            server.kill()
            await asyncio.to_thread(server.restart)
        async with Admin(endpoint) as admin:
            state, found = await admin.collection("docs"), await admin.ready("docs")
            assert state is not None
            assert (state.status, state.indexed_vectors) == ("grey", 0)
            assert not found.ready
            assert found.needs_patch is not None
            await admin.patch("docs", found.needs_patch)
            while not (found := await admin.ready("docs")).ready:
                assert (found.failed, found.needs_patch) == (None, None)
                await asyncio.sleep(0.1)
            state = await admin.collection("docs")
            assert state is not None
            assert state.indexed_vectors > 0
