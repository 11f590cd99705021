"""A migration there and back on a cluster, under writers who go through every peer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.cluster.topology import Cluster, result
from tests.cluster.writers import SIZE, Writers
from tests.integration.migration.support import EngineHarness
from tests.plugins.qdrant import Qdrant

Json = dict[str, Any]
PATIENCE = 240.0


@pytest.fixture(params=[1, 2], ids=["one replica", "two replicas"])
async def engine(request: pytest.FixtureRequest, qdrant: Qdrant, prefix: str) -> AsyncIterator[EngineHarness]:
    spec = {
        "dimensions": SIZE,
        "shardNumber": 3,
        "replicationFactor": request.param,
        "migration": {"promotion": {"quietWait": "3s"}},
    }
    async with EngineHarness.start(qdrant, f"{prefix}docs", spec=spec) as harness:
        await harness.until_ready(patience=PATIENCE)
        yield harness


@pytest.mark.timeout(900)
@pytest.mark.parametrize("wait", [True, False], ids=["waiting", "not waiting"])
async def test_there_and_back_loses_nothing(engine: EngineHarness, peers: list[str], wait: bool) -> None:
    writers, blue = Writers(peers, engine.alias, wait=wait), engine.serving()
    await writers.load()
    async with writers.at_work():
        engine.edit(schemaVersion="v2")
        await engine.until_ready(patience=PATIENCE)
        there = engine.migration["writes"]["cutOver"]
        green = engine.serving()
        await asyncio.sleep(1.0)
        engine.annotate("rollback", engine.migration["id"])
        await engine.until(lambda: engine.serving() == blue, patience=PATIENCE)
        await asyncio.sleep(1.0)
    assert green != blue
    await all_applied(peers, blue)
    assert await writers.differences(blue) == []
    assert there["proved"], there
    assert set(writers.statuses) <= {200, 429}
    assert await states(peers, blue) == {"Active"}
    assert await factor(peers, blue) == 1


@pytest.mark.timeout(900)
async def test_what_is_written_by_an_older_name_reaches_both_collections(
    engine: EngineHarness, peers: list[str]
) -> None:
    blue = engine.serving()
    loaded = Writers(peers, engine.alias, wait=True)
    await loaded.load()
    engine.edit(schemaVersion="v2")
    await engine.until_ready(patience=PATIENCE)
    older = Writers(peers, blue, wait=True)
    older.acknowledged = loaded.acknowledged
    async with older.at_work():
        await asyncio.sleep(2.0)
    await engine.restart()
    for _ in range(12):
        engine.clock.advance(30)
        await engine.step()
    assert await older.differences(blue) == []
    assert await older.differences(engine.serving()) == []


@pytest.mark.timeout(900)
async def test_a_shard_that_moves_in_the_midst_of_a_migration(engine: EngineHarness, peers: list[str]) -> None:
    """Its points are numbered anew, so versions from before mean nothing after."""
    writers, blue = Writers(peers, engine.alias, wait=True), engine.serving()
    await writers.load()
    engine.edit(schemaVersion="v2", migration={"promotion": {"mode": "Manual", "quietWait": "3s"}})
    async with writers.at_work():
        await engine.until_phase("AwaitingPromotion", patience=PATIENCE)
        await Cluster(peers, blue).move_a_shard()
        engine.annotate("promote", engine.migration["planHash"])
        await engine.until(lambda: engine.serving() != blue, patience=PATIENCE)
        await asyncio.sleep(1.0)
    assert await writers.differences(engine.serving()) == []


async def all_applied(peers: list[str], collection: str) -> None:
    """What was acknowledged before it was applied is applied."""
    async with httpx.AsyncClient(base_url=peers[0], timeout=60.0) as client:
        body = {"filter": {"must": [{"has_id": ["00000000-0000-0000-0000-000000000000"]}]}}
        answer = await client.post(f"/collections/{collection}/points/delete?wait=true", json=body)
        answer.raise_for_status()


async def states(peers: list[str], collection: str) -> set[str]:
    async with httpx.AsyncClient(base_url=peers[0], timeout=60.0) as client:
        found = await result(client, f"/collections/{collection}/cluster")
        return {shard["state"] for shard in (*found["local_shards"], *found["remote_shards"])}


async def factor(peers: list[str], collection: str) -> int:
    async with httpx.AsyncClient(base_url=peers[0], timeout=60.0) as client:
        found = await result(client, f"/collections/{collection}")
        return int(found["config"]["params"]["write_consistency_factor"])
