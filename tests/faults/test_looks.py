"""What must not disturb a migration: somebody who asks for the plan, and a wall clock that jumps."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.support import GREEN, Crowd, Migrating, content, named, serves_all
from tests.integration.migration.support import EngineHarness

HOLDS = [
    "before create v2",
    "before upsert v2 in Populating",
    *(f"after patch v2 migration {stage}" for stage in ("CatchingUp", "Indexing", "Verifying", "Promoting")),
    "before alias create alias v2",
    "after alias create alias v2",
]


def truth(engine: EngineHarness) -> dict[str, Any]:
    """All that Qdrant holds of a resource."""
    found = {name: engine.call("GET", f"/collections/{name}")["config"] for name in engine.collections()}
    return {**found, "aliases": engine.aliases(), "points": {name: engine.points(name) for name in found}}


@pytest.mark.fault(4)
async def test_a_plan_in_each_stage(migrating: Migrating) -> None:
    """Another process asks what would be done: it hears of this migration, and nothing has changed."""
    engine = migrating.engine
    await engine.declare()
    expected = content(engine.points())
    engine.edit(**GREEN)
    for effect in HOLDS:
        await migrating.to(effect)
        before = truth(engine)
        plan = await migrating.plan()
        assert truth(engine) == before
        if effect != HOLDS[-1]:
            assert plan.target.startswith(f"{engine.alias}-v2-")
    await migrating.go_on()
    await engine.until_ready()
    serves_all(engine, expected)
    applied = migrating.gate.applied()
    assert (applied.count("create v2"), applied.count("upsert v2 in Populating")) == (1, 1)


@pytest.mark.fault(23)
@pytest.mark.parametrize("seconds", [-86_400.0, 86_400.0])
async def test_a_wall_clock_that_jumps_in_each_stage(migrating: Migrating, seconds: float) -> None:
    """There and back again each time, with the fence up, too."""
    engine = migrating.engine
    engine.edit(migration={"promotion": {"quietWait": "0s"}}, retention={"keepFor": "48h"})
    await engine.until_ready()
    with Crowd.around(engine) as crowd:
        engine.edit(**GREEN)
        for n, effect in enumerate(HOLDS):
            await migrating.to(effect)
            engine.clock.jump(seconds if n % 2 == 0 else -seconds)
        await migrating.go_on()
        await engine.until_ready()
        await crowd.write()
    crowd.lost_nothing()
    assert engine.serving() == named(engine, "v2")
    await engine.rest()
    assert named(engine, "v1") in engine.collections()
