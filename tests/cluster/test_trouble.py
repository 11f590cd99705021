"""A shard moves, a replica is added, or a peer dies and comes back, in each phase of a migration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.cluster.topology import TROUBLES, Cluster
from tests.cluster.writers import SIZE, Writers
from tests.integration.migration.support import EngineHarness
from tests.plugins.qdrant import Qdrant

PATIENCE = 120.0
PHASES = ["Populating", "Indexing", "Verifying", "Promoting", "Watching"]
ANSWERS = {200, 429}


@pytest.fixture
async def engine(qdrant: Qdrant, prefix: str) -> AsyncIterator[EngineHarness]:
    spec = {
        "dimensions": SIZE,
        "shardNumber": 3,
        "replicationFactor": 2,
        "migration": {"promotion": {"quietWait": "3s"}},
    }
    async with EngineHarness.start(qdrant, f"{prefix}docs", spec=spec) as harness:
        await harness.until_ready(patience=PATIENCE)
        yield harness


@pytest.mark.timeout(900)
@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("phase", PHASES)
async def test_trouble_in_the_midst_of_a_migration_loses_no_write(
    engine: EngineHarness, peers: list[str], phase: str, trouble: str
) -> None:
    writers, blue = Writers(peers, engine.alias, wait=True), engine.serving()
    cluster = Cluster(peers, blue)
    await writers.load()
    engine.edit(schemaVersion="v2")
    async with writers.at_work():
        await engine.until_phase(phase, patience=PATIENCE)
        await asyncio.gather(TROUBLES[trouble](cluster), _steps(engine))
        await engine.until_ready(patience=PATIENCE)
        await asyncio.sleep(1.0)
    green = engine.serving()
    assert green != blue
    await Cluster(peers, green).whole()
    assert await writers.differences(green) == []
    if "peer dies" not in trouble:
        assert set(writers.statuses) <= ANSWERS


@pytest.mark.timeout(900)
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_trouble_after_the_cut_over_loses_no_write_on_the_way_back(
    engine: EngineHarness, peers: list[str], trouble: str
) -> None:
    writers, blue = Writers(peers, engine.alias, wait=True), engine.serving()
    await writers.load()
    engine.edit(schemaVersion="v2")
    async with writers.at_work():
        await engine.until_ready(patience=PATIENCE)
        await asyncio.gather(TROUBLES[trouble](Cluster(peers, engine.serving())), _steps(engine))
        engine.annotate("rollback", engine.migration["id"])
        await engine.until(lambda: engine.serving() == blue, patience=PATIENCE)
        await asyncio.sleep(1.0)
    await Cluster(peers, blue).whole()
    assert await writers.differences(blue) == []


async def _steps(engine: EngineHarness, count: int = 3) -> None:
    """Teal goes on meanwhile; what it cannot do now it tries again."""
    for _ in range(count):
        await engine.step()
        await asyncio.sleep(0.5)
