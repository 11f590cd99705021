"""What people ask for by annotation: done once, however often it is read, and refused when it is too late."""

from __future__ import annotations

import pytest

from tests.integration.migration.support import EngineHarness, some_points

EUCLID = {"distance": "Euclid"}
MANUAL = {"promotion": {"mode": "Manual"}}


async def test_an_approved_plan_is_promoted_and_no_other(engine: EngineHarness) -> None:
    blue = await engine.declare()
    engine.edit(migration=MANUAL, **EUCLID)
    await engine.until_phase("AwaitingPromotion")
    ready = engine.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("Unknown", "AwaitingPromotion")
    assert f"teal.dev/promote={engine.migration['planHash']}" in ready["message"]
    assert engine.condition("Reconciling")["status"] == engine.condition("Stalled")["status"] == "absent"
    first = engine.migration["planHash"]

    engine.edit(hnsw={"m": 24})
    engine.annotate("promote", first)
    await engine.until(lambda: engine.phase == "AwaitingPromotion" and engine.migration["planHash"] != first)
    await engine.rest()
    assert engine.serving() == blue
    (refused,) = engine.status["refusedActions"]
    assert refused["value"] == first
    assert engine.migration["planHash"] in refused["message"]
    assert engine.reasons().count("ActionRefused") == 1

    engine.annotate("promote", engine.migration["planHash"])
    await engine.until_ready()
    assert engine.serving() != blue
    assert "refusedActions" not in engine.status
    await engine.rest()
    assert engine.reasons().count("ActionRefused") == 1


async def test_green_stays_fresh_while_it_waits(engine: EngineHarness) -> None:
    await engine.declare()
    engine.edit(migration=MANUAL, **EUCLID)
    await engine.until_phase("AwaitingPromotion")
    engine.put(some_points(3, start=500))
    engine.delete([1])
    engine.clock.advance(11.0)
    await engine.rest()
    green = engine.migration["target"]
    assert set(engine.payloads(green)) == set(engine.payloads())


async def test_an_old_verdict_is_given_again_before_the_cutover(engine: EngineHarness) -> None:
    await engine.declare()
    engine.edit(migration=MANUAL, **EUCLID)
    await engine.until_phase("AwaitingPromotion")
    engine.clock.advance(3601.0)
    await engine.rest()
    assert engine.reasons().count("VerificationPassed") == 1
    engine.annotate("promote", engine.migration["planHash"])
    await engine.until_ready()
    assert engine.reasons().count("VerificationPassed") == 2


@pytest.mark.fault(12)
async def test_an_abort_gives_green_up_and_stays_until_a_retry(engine: EngineHarness) -> None:
    blue = await engine.declare()
    engine.edit(migration=MANUAL, **EUCLID)
    await engine.until_phase("AwaitingPromotion")
    first = engine.migration["id"]
    engine.annotate("abort", first)
    await engine.until_phase("Held")
    assert engine.collections() == {blue}
    stalled = engine.condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "Aborted")
    assert f"teal.dev/retry={first}" in stalled["message"]
    assert engine.condition("Available")["status"] == "True"
    assert engine.status["history"][0]["outcome"] == "Aborted"

    await engine.restart()
    engine.status = {}
    await engine.rest()
    assert engine.phase == "Held"
    assert engine.collections() == {blue}
    assert engine.reasons().count("MigrationAborted") == 1

    engine.annotate("retry", first)
    await engine.until_phase("AwaitingPromotion")
    assert engine.migration["id"] == f"{first[:-1]}2"
    await engine.rest()
    assert engine.phase == "AwaitingPromotion"
    assert "refusedActions" not in engine.status

    engine.annotate("abort", engine.migration["id"])
    await engine.until_phase("Held")
    await engine.rest()
    assert engine.collections() == {blue}


async def test_an_abort_ends_with_the_spec_that_it_was_about(engine: EngineHarness) -> None:
    blue = await engine.declare()
    engine.edit(migration=MANUAL, **EUCLID)
    await engine.until_phase("AwaitingPromotion")
    engine.annotate("abort", engine.migration["id"])
    await engine.until_phase("Held")
    engine.edit(distance="Dot", migration={"promotion": {"mode": "Automatic"}})
    await engine.until_ready()
    assert engine.serving() != blue
    assert engine.status["active"]["distance"] == "Dot"


async def test_a_first_revision_can_be_aborted_and_retried(engine: EngineHarness) -> None:
    """It cannot be finished, because Qdrant refuses its alias."""
    engine.qdrant.need_faults().faults(match="POST /collections/aliases", status=500, times=0)
    await engine.until(lambda: engine.phase == "Promoting")
    (green,) = engine.collections()
    name = migration_of(engine, green)
    engine.annotate("abort", name)
    await engine.until(lambda: engine.condition("Stalled")["reason"] == "Aborted")
    engine.qdrant.need_faults().faults()
    await engine.rest()
    assert engine.phase == "Held"
    assert engine.alias not in engine.aliases()
    engine.annotate("retry", name)
    await engine.until_ready()
    assert engine.serving() == green
    assert migration_of(engine, green) == f"{name[:-1]}2"


async def test_an_abort_of_a_first_revision_that_serves_is_refused(engine: EngineHarness) -> None:
    green = await engine.declare()
    engine.annotate("abort", migration_of(engine, green))
    await engine.rest()
    assert engine.serving() == green
    assert engine.status["refusedActions"][0]["message"].startswith("it has cut over already")


def migration_of(engine: EngineHarness, green: str) -> str:
    """The migration id in a collection's marks."""
    mark = engine.marks(green)["teal.dev/migration"]
    return f"{mark['planHash']}-{mark['attempt']}"


async def test_an_abort_after_the_cutover_is_refused(engine: EngineHarness) -> None:
    blue = await engine.declare()
    engine.edit(migration=MANUAL, **EUCLID)
    await engine.until_phase("AwaitingPromotion")
    name = engine.migration["id"]
    engine.annotate("promote", engine.migration["planHash"])
    await engine.until_ready()
    engine.annotate("abort", name)
    await engine.rest()
    assert engine.serving() != blue
    (refused,) = engine.status["refusedActions"]
    assert f"teal.dev/rollback={name}" in refused["message"]
    assert engine.reasons().count("ActionRefused") == 1
    await engine.restart()
    await engine.rest()
    assert engine.reasons().count("ActionRefused") == 1


async def test_a_rollback_takes_writes_back_and_stays(engine: EngineHarness) -> None:
    blue = await engine.declare()
    engine.edit(**EUCLID)
    await engine.until_ready()
    green, name = engine.serving(), engine.migration["id"]
    engine.put(some_points(5, start=900))
    engine.delete([1, 2])
    engine.annotate("rollback", name)
    await engine.until_phase("Held")
    assert engine.serving() == blue
    assert set(engine.payloads()) == {*range(3, 61), *range(900, 905)}
    assert engine.condition("Stalled")["reason"] == "RolledBack"
    assert engine.condition("Ready")["status"] == "False"
    assert engine.condition("Available")["status"] == "True"
    assert engine.status["history"][0]["outcome"] == "RolledBack"
    assert green in engine.collections()

    await engine.restart()
    engine.status = {}
    await engine.rest()
    assert engine.serving() == blue
    assert engine.reasons().count("RollbackRequested") == 1

    engine.put(some_points(2, start=950))
    engine.annotate("retry", name)
    await engine.until_ready()
    assert engine.serving() == green
    assert set(engine.payloads()) == {*range(3, 61), *range(900, 905), 950, 951}
    await engine.rest()
    assert engine.serving() == green

    engine.annotate("rollback", engine.migration["id"])
    await engine.until_phase("Held")
    assert engine.serving() == blue


async def test_a_spec_that_fits_what_serves_ends_a_rollback(engine: EngineHarness) -> None:
    blue = await engine.declare()
    engine.edit(**EUCLID)
    await engine.until_ready()
    green = engine.serving()
    engine.annotate("rollback", engine.migration["id"])
    await engine.until_phase("Held")
    engine.edit(distance="Cosine")
    await engine.until_ready()
    assert engine.serving() == blue
    engine.edit(**EUCLID)
    await engine.until_ready()
    assert engine.serving() == green


async def test_a_rollback_of_something_else_is_refused(engine: EngineHarness) -> None:
    await engine.declare()
    engine.edit(**EUCLID)
    await engine.until_ready()
    green = engine.serving()
    engine.annotate("rollback", "0123456789ab-1")
    await engine.rest()
    assert engine.serving() == green
    assert engine.migration["id"] in engine.status["refusedActions"][0]["message"]


async def test_a_rollback_after_the_retention_is_refused(engine: EngineHarness) -> None:
    blue = await engine.declare()
    engine.edit(retention={"keepFor": "1m"}, **EUCLID)
    await engine.until_ready()
    name = engine.migration["id"]
    engine.clock.advance(61.0)
    await engine.until(lambda: blue not in engine.collections())
    engine.annotate("rollback", name)
    await engine.rest()
    assert "does not exist any more" in engine.status["refusedActions"][0]["message"]
