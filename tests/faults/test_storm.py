"""Writers who never pause, in every stage of a migration, forth and back: nothing is lost, nothing comes back."""

from __future__ import annotations

import pytest

from tests.faults.support import BLUE, GREEN, Crowd, Migrating

STAGES = ["CatchingUp", "Indexing", "Verifying", "AwaitingPromotion", "Promoting"]


@pytest.mark.fault(17)
async def test_a_storm_of_writes_in_every_stage_forth_and_back(migrating: Migrating) -> None:
    engine = migrating.engine
    await engine.until_ready()
    with Crowd.around(engine, writers=4, writes_per_second=1000) as crowd:
        engine.edit(**GREEN)
        for effect in ["after create v2", "before upsert v2 in Populating"]:
            await migrating.to(effect)
            await crowd.write()
        for stage in STAGES:
            await migrating.to(f"after patch v2 migration {stage}")
            await crowd.write()
        await migrating.to("after alias create alias v2")
        await crowd.write()
        await migrating.go_on()
        await engine.until_ready()
        await crowd.write()
        forth = engine.serving()
        engine.edit(**BLUE)
        await engine.until_ready()
        await crowd.write()
    counts = crowd.lost_nothing()
    assert engine.serving() != forth
    assert counts.unknown == 0
    assert crowd.clients.ledger.deleted
