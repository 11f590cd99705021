"""What a cut-over waits for: it may take hours, and what was true before it must be true after it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.support import GREEN, Migrating, content, named, serves_all
from tests.integration.migration.support import EngineHarness, some_points

HARM: dict[str, Callable[[EngineHarness, str], object]] = {
    "points lost": lambda engine, green: engine.delete([1, 2, 3], green),
    "points altered": lambda engine, green: engine.put(some_points(3, start=10, text="altered"), green),
}


@pytest.mark.fault(15)
@pytest.mark.parametrize(("harm", "restarted"), [("points lost", False), ("points altered", True)])
async def test_green_degrades_while_it_waits(engine: EngineHarness, harm: str, restarted: bool) -> None:
    """Approved on an old verdict, what serves is complete all the same; or it does not serve."""
    engine.edit(migration={"promotion": {"mode": "Manual"}})
    blue = await engine.declare()
    expected = content(engine.points())
    engine.edit(**GREEN)
    await engine.until_phase("AwaitingPromotion")
    green = named(engine, "v2")
    HARM[harm](engine, green)
    if restarted:
        await engine.restart()
    engine.annotate("promote", engine.migration["planHash"])
    await engine.until_phase("Held")
    assert engine.serving() == blue
    assert engine.condition("Verified")["status"] == "False"
    engine.annotate("retry", engine.migration["id"])
    await engine.until_ready()
    serves_all(engine, expected)


@pytest.mark.fault(14)
@pytest.mark.fault(16)
async def test_a_throttle_for_hours(migrating: Migrating) -> None:
    """Reads of blue are slow, and then nobody can say how slow: both mean wait, and neither is a stall."""
    engine, server = migrating.engine, migrating.engine.qdrant.need_faults()
    engine.edit(migration={"parallelism": 1, "throttle": {"maxReadLatencyMillis": 100}})
    blue = await engine.declare(1200)
    expected = content(engine.points())
    server.faults(slow={blue: 0.3})
    engine.edit(**GREEN)
    await engine.until(lambda: "throttleReason" in (engine.migration.get("progress") or {}))
    green = named(engine, "v2")
    assert "a search on" in engine.migration["progress"]["throttleReason"]
    for _ in range(2):
        engine.clock.advance(6 * 3600.0)
        await engine.step()
    assert (engine.phase, engine.points(green)) == ("Populating", {})
    assert engine.condition("Stalled")["status"] == "absent"
    assert engine.condition("Reconciling")["status"] == "True"

    server.faults()
    await migrating.to("before upsert v2 in Populating")
    server.faults(match="GRPC qdrant.Points/Query", status=500, times=0)
    engine.clock.advance(2.0)
    await migrating.go_on()
    await engine.step()
    assert "cannot be measured" in engine.migration["progress"]["throttleReason"]
    assert len(engine.points(green)) == 500
    assert engine.serving() == blue
    server.faults()
    await engine.until_ready()
    serves_all(engine, expected)
