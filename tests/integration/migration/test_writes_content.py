"""By content: points without a dense vector have no version that a server tells, and no write to them is lost.

Their payloads hold maps of maps, which a server sends in another order from answer to answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.migration.application import Application, mixed, sparse
from tests.integration.migration.support import EngineHarness
from tests.plugins.qdrant import Qdrant

Json = dict[str, Any]
WORDS = {"dimensions": None, "distance": None, "sparseVectors": [{"name": "words"}]}
KINDS = {"sparse": (sparse, WORDS), "mixed": (mixed, {**WORDS, "vectors": [{"name": "text", "dimensions": 4}]})}


@pytest.fixture(params=KINDS)
async def application(request: pytest.FixtureRequest, qdrant: Qdrant, prefix: str) -> AsyncIterator[Application]:
    """A declared collection of 200 points, some or all of which have sparse vectors alone."""
    make, spec = KINDS[request.param]
    async with EngineHarness.start(qdrant, f"{prefix}docs") as engine:
        engine.edit(**spec, migration={"promotion": {"quietWait": "1s", "maxFence": "5s"}})
        await engine.until_ready()
        loaded = Application(engine, make)
        loaded.load(200)
        yield loaded


async def test_there_and_back_under_writers_that_never_pause(application: Application) -> None:
    engine = application.engine
    blue = engine.serving()
    async with application.at_work() as told:
        engine.edit(schemaVersion="v2", watch={"duration": "2s"})
        await engine.until_ready()
        writes = engine.migration["writes"]
        await application.writes_more()
        assert engine.serving() != blue
        engine.annotate("rollback", engine.migration["id"])
        await engine.until(lambda: engine.serving() == blue)
        await application.writes_more()
    assert application.differences() == []
    assert told.failures == []
    assert told.longest_stall < 5
    assert writes["caughtUp"] > 0
    assert writes["cutOver"]["proved"]


async def test_content_that_nobody_changes_is_copied_once(application: Application) -> None:
    engine = application.engine
    engine.edit(schemaVersion="v2", migration={"promotion": {"mode": "Manual"}})
    await engine.until_phase("AwaitingPromotion")
    assert engine.migration["writes"]["passes"] > 2
    assert engine.migration["writes"]["caughtUp"] == 0
    await engine.restart()
    engine.annotate("promote", engine.migration["planHash"])
    await engine.until_ready()
    assert engine.migration["writes"]["caughtUp"] == 0
    assert application.differences() == []


async def test_both_sides_stay_in_step(application: Application) -> None:
    engine = application.engine
    blue = engine.serving()
    engine.edit(schemaVersion="v2")
    await engine.until_ready()
    async with application.at_work():
        await application.writes_more(40)
    engine.clock.advance(60)
    await engine.until(lambda: application.differences(blue) == [])
    assert application.differences() == []


async def test_a_vector_alone_goes_back_after_a_restart(application: Application) -> None:
    engine = application.engine
    blue = engine.serving()
    engine.edit(schemaVersion="v2")
    await engine.until_ready()
    vector = {"words": {"indices": [0, 7], "values": [1.0, 2.0]}}
    engine.call(
        "PUT", f"/collections/{engine.alias}/points/vectors?wait=true", {"points": [{"id": 7, "vector": vector}]}
    )
    await engine.restart()
    await engine.until(lambda: engine.points(blue)[7]["vector"]["words"] == vector["words"])


async def test_a_frozen_one_that_is_written_to_is_held(application: Application) -> None:
    engine = application.engine
    engine.edit(schemaVersion="v2", migration={"writes": "Frozen", "promotion": {"mode": "Manual"}})
    await engine.until_phase("AwaitingPromotion")
    body = {"payload": {"n": -1}, "points": [7]}
    engine.call("POST", f"/collections/{engine.alias}/points/payload?wait=true", body)
    engine.clock.advance(10)
    await engine.until_phase("Held")
    assert engine.condition("Ready")["reason"] == "WroteWhileFrozen"
