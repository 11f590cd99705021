"""Writes that do not arrive, reads that break off, a disk that is full."""

from __future__ import annotations

import pytest

from tests.faults.support import GREEN, Migrating, content, named, serves_all
from tests.integration.migration.support import EngineHarness, some_points

UPSERT, SCROLL, QUERY = (f"GRPC qdrant.Points/{call}" for call in ("Upsert", "Scroll", "Query"))


def one_answer_then(engine: EngineHarness, call: str, times: int = 1) -> None:
    """The first of these calls is answered, the next ones fail."""
    server = engine.qdrant.need_faults()
    server.faults(match=call, delay=0.001)
    server.faults(match=call, status=500, times=times)


@pytest.mark.fault(2)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_checkpoint_holds_only_what_has_been_applied(engine: EngineHarness, when: str) -> None:
    """It is written while batches are on their way, of which nobody ever hears; the next operator believes it."""
    server = engine.qdrant.need_faults()
    await engine.declare(2000)
    expected = content(engine.points())
    engine.edit(**GREEN)
    await engine.until_phase("Populating")
    server.faults(match=UPSERT, delay=0.001)
    server.faults(match=UPSERT, when=when, delay=4.0, drop=True, times=3)
    await engine.until(lambda: "teal.dev/checkpoint" in engine.marks(named(engine, "v2")))
    assert engine.migration["progress"]["pointsDone"] < 2000
    await engine.restart()
    server.faults()
    await engine.until_ready()
    serves_all(engine, expected)
    assert engine.migration["attempts"] == 1


@pytest.mark.fault(18)
@pytest.mark.parametrize("call", [SCROLL, QUERY])
async def test_a_source_that_is_read_in_part_is_not_taken_for_all(migrating: Migrating, call: str) -> None:
    """What green has and the broken scan did not show stays on green, through each of the passes."""
    engine = migrating.engine
    await engine.until_ready()
    for start in (1, 3001):
        engine.put(some_points(3000, start=start))
    expected = content(engine.points())
    engine.edit(**GREEN)
    for stage in ("CatchingUp", "Promoting"):
        await migrating.to(f"after patch v2 migration {stage}")
        one_answer_then(engine, call)
        await migrating.go_on()
        assert len(engine.points(named(engine, "v2"))) == len(expected)
        engine.qdrant.need_faults().faults()
    await engine.until_ready()
    serves_all(engine, expected)


@pytest.mark.fault(19)
async def test_a_disk_that_is_full_while_points_are_copied(migrating: Migrating) -> None:
    """Blue serves, green is kept, and the copy goes on where it was."""
    engine, server = migrating.engine, migrating.engine.qdrant.need_faults()
    engine.edit(migration={"parallelism": 1})
    blue = await engine.declare(1200)
    expected = content(engine.points())
    engine.edit(**GREEN)
    await migrating.to("after upsert v2 in Populating")
    server.faults(disk_full=True)
    await migrating.go_on()
    await engine.rest(3)
    assert "disk" in engine.condition("Reconciling")["message"]
    assert engine.condition("Stalled")["status"] == "absent"
    assert (engine.serving(), len(engine.points())) == (blue, 1200)
    assert len(engine.points(named(engine, "v2"))) == 500
    server.faults()
    await engine.until_ready()
    serves_all(engine, expected)
    assert migrating.gate.applied().count("upsert v2 in Populating") == 3
