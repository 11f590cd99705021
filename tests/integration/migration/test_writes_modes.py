"""`DualWrite` and `Frozen`: what the application promises, and what happens when it does not keep it."""

from __future__ import annotations

import pytest

from tests.integration.migration.application import Application, dense
from tests.integration.migration.support import SIZE, EngineHarness, some_points


async def dual_writing(engine: EngineHarness, points: int = 300) -> Application:
    engine.edit(migration={"writes": "DualWrite", "promotion": {"quietWait": "30s"}})
    await engine.until_ready()
    application = Application(engine, dense(SIZE), both=True)
    application.load(points)
    return application


async def test_an_application_that_writes_to_both_loses_nothing_there_and_back(engine: EngineHarness) -> None:
    application = await dual_writing(engine)
    blue = engine.serving()
    async with application.at_work() as told:
        engine.edit(schemaVersion="v2")
        await engine.until_ready()
        writes = engine.migration["writes"]
        await application.writes_more()
        assert engine.serving() != blue
        engine.annotate("rollback", engine.migration["id"])
        await engine.until_phase("Held")
        await application.writes_more()
    assert engine.serving() == blue
    assert application.differences() == []
    assert told.failures == []
    assert writes["mode"] == "DualWrite"
    assert "never overwrites" in writes["guarantee"]
    assert writes["cutOver"]["lateWrites"] == 0
    assert not writes["cutOver"]["fenceMillis"]


async def test_what_the_application_did_on_green_is_left_as_it_is(engine: EngineHarness) -> None:
    application = await dual_writing(engine, 40)
    engine.edit(schemaVersion="v2", migration={"promotion": {"mode": "Manual"}})
    await engine.until_phase("Populating")
    upcoming = f"{engine.alias}-next"
    theirs = some_points(1, start=7, by="the application")
    engine.put(theirs, upcoming)
    await engine.until_phase("Indexing")
    assert engine.payloads(upcoming)[7]["by"] == "the application"
    assert len(engine.payloads(upcoming)) == 40
    engine.put(theirs)
    await engine.until_phase("AwaitingPromotion")

    # Deleted on one side, and then written to on the other; deleted on the other side alone.
    engine.delete([8], upcoming)
    engine.put(some_points(1, start=8, by="nobody"))
    engine.delete([9])
    await fresh(engine)
    assert 8 not in engine.payloads(upcoming)
    assert 9 not in engine.payloads(upcoming)
    assert engine.payloads(upcoming)[7]["by"] == "the application"
    assert application.told.failures == []


async def test_one_that_writes_to_one_side_alone_is_told(engine: EngineHarness) -> None:
    application = await dual_writing(engine)
    engine.edit(migration={"promotion": {"quietWait": "0s"}})
    one_sided = Application(engine, dense(SIZE), weights={"insert": 1}, seed=1)
    blue = engine.serving()
    async with one_sided.at_work():
        engine.edit(schemaVersion="v2")
        await engine.until(lambda: engine.condition("Reconciling")["reason"] == "NotDualWritten")
        assert engine.serving() == blue
    await engine.until_ready()
    assert engine.payloads().keys() == application.points.keys() | one_sided.points.keys()


async def fresh(engine: EngineHarness) -> None:
    """Wait for one more pass while the cut-over is waited for."""
    passes = engine.migration["writes"]["passes"]
    engine.clock.advance(10)
    await engine.until(lambda: engine.migration["writes"]["passes"] > passes)


@pytest.mark.parametrize("phase", ["Populating", "Indexing", "AwaitingPromotion", "Promoting"])
async def test_a_write_is_found_in_every_phase(engine: EngineHarness, phase: str) -> None:
    await frozen(engine, mode="Manual")
    blue = engine.serving()
    engine.edit(schemaVersion="v2")
    await engine.until_phase("AwaitingPromotion" if phase == "Promoting" else phase)
    if phase == "Populating":
        await engine.until(lambda: bool(engine.migration.get("progress")))
    engine.put(some_points(1, start=7, n="written"))
    if phase == "Promoting":
        engine.annotate("promote", engine.migration["planHash"])
    else:
        engine.clock.advance(10)
    await engine.until_phase("Held")
    assert engine.serving() == blue
    assert engine.condition("Ready")["reason"] == "WroteWhileFrozen"
    assert engine.payloads()[7]["n"] == "written"


async def frozen(engine: EngineHarness, mode: str = "Automatic") -> None:
    engine.edit(migration={"writes": "Frozen", "promotion": {"mode": mode}})
    await engine.declare(100)


async def test_the_promise_is_made_anew_by_a_retry_and_writers_go_on_after_the_cutover(
    engine: EngineHarness,
) -> None:
    engine.edit(migration={"writes": "Frozen"})
    await engine.until_ready()
    application = Application(engine, dense(SIZE))
    application.load(200)
    blue = engine.serving()
    async with application.at_work():
        engine.edit(schemaVersion="v2")
        await engine.until_phase("Held")
    assert engine.condition("Ready")["reason"] == "WroteWhileFrozen"
    engine.annotate("retry", engine.migration["id"])
    await engine.until_ready()
    assert engine.serving() != blue
    assert application.differences() == []
    writes = engine.migration["writes"]
    assert (writes["mode"], writes["cutOver"]["switch"]) == ("Frozen", "Quiet")
    async with application.at_work() as told:
        await application.writes_more()
        engine.annotate("rollback", engine.migration["id"])
        await engine.until(lambda: engine.serving() == blue)
        await application.writes_more()
    await engine.until_phase("Held")
    assert application.differences() == []
    assert told.failures == []
