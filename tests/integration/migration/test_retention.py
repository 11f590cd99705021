"""What was replaced is deleted at its deadline: not before, not while somebody uses it, not without a snapshot."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.integration.migration.support import EngineHarness, some_points

EUCLID = {"distance": "Euclid"}


async def replaced(engine: EngineHarness, **retention: object) -> tuple[str, float]:
    """The collection that was replaced, and its deadline by the status."""
    blue = await engine.declare()
    engine.edit(retention={"keepFor": "1h", **retention}, **EUCLID)
    await engine.until_ready()
    return blue, deadline(engine)


def deadline(engine: EngineHarness) -> float:
    (retained,) = engine.status["retained"]
    return datetime.fromisoformat(retained["retainUntil"]).timestamp()


async def wait_until(engine: EngineHarness, moment: float) -> None:
    engine.clock.advance(moment - engine.clock.now())
    await engine.rest()


async def test_it_goes_at_the_deadline_and_not_before(engine: EngineHarness) -> None:
    blue, at = await replaced(engine)
    await wait_until(engine, at - 30.0)
    outcome = await engine.step()
    assert blue in engine.collections()
    assert outcome.requeue_after <= 31.0
    await wait_until(engine, at + 1.0)
    assert blue not in engine.collections()
    assert blue in engine.told("CollectionRetired")


async def test_the_deadline_can_be_moved_both_ways(engine: EngineHarness) -> None:
    blue, at = await replaced(engine)
    engine.edit(retention={"keepFor": "3h"})
    await wait_until(engine, at + 1.0)
    assert blue in engine.collections()
    assert deadline(engine) == at + 7200.0
    engine.edit(retention={"keepFor": "1h"})
    await engine.rest()
    assert blue not in engine.collections()


@pytest.mark.fault(23)
async def test_a_wall_clock_that_jumps_back_deletes_nothing_early(engine: EngineHarness) -> None:
    blue, at = await replaced(engine)
    engine.clock.jump(-86_400.0)
    engine.clock.advance(3601.0)
    await engine.rest()
    assert blue in engine.collections()
    await wait_until(engine, at + 1.0)
    assert blue not in engine.collections()


@pytest.mark.fault(23)
async def test_a_wall_clock_that_jumps_ahead_deletes_nothing_early(engine: EngineHarness) -> None:
    blue, at = await replaced(engine)
    engine.clock.jump(86_400.0)
    await engine.rest()
    assert blue in engine.collections()
    assert engine.condition("Reconciling")["reason"] == "ClocksDiffer"
    assert "86,4" in engine.condition("Reconciling")["message"]
    engine.clock.jump(-86_400.0)
    await wait_until(engine, at + 1.0)
    assert blue not in engine.collections()


@pytest.mark.fault(23)
async def test_a_clock_that_was_behind_at_the_cutover_and_is_set_right(engine: EngineHarness) -> None:
    await engine.until_ready()
    engine.clock.jump(-86_400.0)
    blue, at = await replaced(engine)
    engine.clock.jump(86_400.0)
    await wait_until(engine, at - 30.0)
    assert blue in engine.collections()
    await wait_until(engine, at + 1.0)
    assert blue not in engine.collections()


async def test_it_stays_while_an_alias_points_at_it(engine: EngineHarness) -> None:
    blue, at = await replaced(engine)
    alias = f"{engine.alias}-somebodys"
    engine.call("POST", "/collections/aliases", alias_to(alias, blue))
    await wait_until(engine, at + 1.0)
    assert blue in engine.collections()
    assert engine.condition("Reconciling")["reason"] == "RetirementBlocked"
    assert alias in engine.condition("Reconciling")["message"]
    engine.call("POST", "/collections/aliases", {"actions": [{"delete_alias": {"alias_name": alias}}]})
    await engine.rest()
    assert blue not in engine.collections()


async def test_a_failed_snapshot_keeps_it(engine: EngineHarness) -> None:
    """What is deleted in the end can be restored from the snapshot, with what was written to it last."""
    blue, at = await replaced(engine, snapshot=True)
    early = engine.call("POST", f"/collections/{blue}/snapshots")["name"]
    engine.put(some_points(1, start=500), blue)
    engine.qdrant.need_faults().faults(match=f"POST /collections/{blue}/snapshots", status=500, times=0)
    await wait_until(engine, at + 1.0)
    assert blue in engine.collections()
    assert [each["name"] for each in engine.call("GET", f"/collections/{blue}/snapshots")] == [early]
    assert engine.condition("Reconciling")["status"] == "True"
    engine.qdrant.need_faults().faults()
    await engine.rest()
    assert blue not in engine.collections()
    assert restored(engine, blue, snapshot_of(engine)) == {*range(1, 61), 500}


async def test_no_snapshot_is_taken_where_none_is_wanted(engine: EngineHarness) -> None:
    blue, at = await replaced(engine, snapshot=False)
    engine.qdrant.need_faults().faults(match=f"POST /collections/{blue}/snapshots", status=500, times=0)
    await wait_until(engine, at + 1.0)
    assert blue not in engine.collections()


async def test_the_snapshots_file_outlives_the_collection(engine: EngineHarness) -> None:
    """As the docs say how to restore it: by its file, under another name, so that the marks in it do not count."""
    if engine.qdrant.embedded is None:
        pytest.skip("where this server keeps its snapshots is not known")
    blue, at = await replaced(engine, snapshot=True)
    points = engine.payloads(blue)
    await wait_until(engine, at + 1.0)
    assert blue not in engine.collections()
    assert engine.answered("GET", f"/collections/{blue}/snapshots") == 404
    assert restored(engine, blue, snapshot_of(engine)) == points.keys()
    engine.clock.advance(3600.0)
    await engine.rest()
    assert engine.payloads(f"{engine.alias}-restored") == points


async def test_a_restored_collection_takes_writes_again_when_its_strict_mode_is_set_back(
    engine: EngineHarness,
) -> None:
    """Its snapshots were taken under the fence, which the docs say how to lift."""
    if engine.qdrant.embedded is None:
        pytest.skip("where this server keeps its snapshots is not known")
    blue, at = await replaced(engine, snapshot=True)
    await wait_until(engine, at + 1.0)
    name, before = f"{engine.alias}-restored", restored(engine, blue, snapshot_of(engine))
    points = f"/collections/{name}/points?wait=true"
    assert engine.answered("PUT", points, {"points": some_points(2, start=900)}) == 429
    engine.call("PATCH", f"/collections/{name}", {"strict_mode_config": {"enabled": False}})
    engine.put(some_points(2, start=900), name)
    assert set(engine.points(name)) == {*before, 900, 901}


@pytest.mark.fault(24)
async def test_a_rollback_right_before_the_deadline_wins(engine: EngineHarness) -> None:
    blue, at = await replaced(engine)
    engine.annotate("rollback", engine.migration["id"])
    await wait_until(engine, at - 1.0)
    engine.clock.advance(5.0)
    await engine.until_phase("Held")
    assert engine.serving() == blue
    assert blue in engine.collections()


def snapshot_of(engine: EngineHarness) -> str:
    """The name of the snapshot of the collection that was retired, as the Event says it."""
    return engine.told("CollectionRetired").partition("its snapshots are ")[2].partition(" at ")[0]


def restored(engine: EngineHarness, collection: str, snapshot: str) -> set[int]:
    """The ids in a snapshot of a collection that is gone."""
    name = f"{engine.alias}-restored"
    location = f"file:///qdrant/snapshots/{collection}/{snapshot}"
    engine.call("PUT", f"/collections/{name}/snapshots/recover?wait=true", {"location": location})
    return set(engine.points(name))


def alias_to(alias: str, collection: str) -> dict[str, object]:
    return {"actions": [{"create_alias": {"alias_name": alias, "collection_name": collection}}]}
