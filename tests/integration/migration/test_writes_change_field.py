"""`migration.changeField`: passes look only at what it leads to, and the last one at all that can be seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.migration.application import Application, Change, dense, sparse
from tests.integration.migration.support import SIZE, EngineHarness, some_points
from tests.plugins.qdrant import Qdrant

Json = dict[str, Any]
START = datetime(2026, 1, 1, tzinfo=UTC)
WORDS: Json = {"dimensions": None, "distance": None, "sparseVectors": [{"name": "words"}]}


def number(revision: int) -> int:
    """As a clock of nanoseconds counts, which no double holds exactly."""
    return 1_700_000_000_000_000_000 + revision


def moment(revision: int) -> str:
    return (START + timedelta(milliseconds=revision)).isoformat()


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("at", [number, moment])
async def test_there_and_back_under_writers_that_never_pause(
    engine: EngineHarness, at: Change, *, trusted: bool
) -> None:
    field = {"name": "about.at", "trusted": trusted}
    engine.edit(migration={"changeField": field, "promotion": {"quietWait": "1s", "maxFence": "5s"}})
    await engine.until_ready()
    application, blue = Application(engine, dense(SIZE), at=at), engine.serving()
    application.load(300)
    async with application.at_work() as told:
        engine.edit(schemaVersion="v2")
        await engine.until_ready()
        writes = engine.migration["writes"]
        await application.writes_more()
        engine.annotate("rollback", engine.migration["id"])
        await engine.until(lambda: engine.serving() == blue)
        await application.writes_more()
    assert application.differences() == []
    assert told.failures == []
    assert writes["caughtUp"] > 0
    assert ("because it is trusted" in writes["guarantee"]) is trusted
    assert ("about.at" in writes["guarantee"] + writes["proof"]) is trusted
    assert writes["cutOver"]["proved"]


async def waiting(engine: EngineHarness, *, trusted: bool = False) -> str:
    """A migration that waits for its approval, its green, and passes that go by the field from now on."""
    field = {"name": "n", "trusted": trusted}
    engine.edit(schemaVersion="v2", migration={"changeField": field, "promotion": {"mode": "Manual"}})
    await engine.until_phase("AwaitingPromotion")
    await another_pass(engine)
    return str(engine.migration["target"])


async def another_pass(engine: EngineHarness) -> None:
    passes = engine.migration["writes"]["passes"]
    engine.clock.advance(10)
    await engine.until(lambda: engine.migration["writes"]["passes"] > passes)


async def test_what_the_field_does_not_lead_to_is_found_before_the_cutover(engine: EngineHarness) -> None:
    await engine.declare(200)
    green = await waiting(engine)
    engine.put(some_points(1, start=7, n=300))
    engine.put([*some_points(1, start=8, said="quietly"), *some_points(1, start=999, n=0)])
    engine.delete([9])
    await another_pass(engine)
    found = engine.payloads(green)
    assert found[7]["n"] == 300
    assert 999 not in found
    assert "said" not in found[8]
    engine.annotate("promote", engine.migration["planHash"])
    await engine.until(lambda: engine.serving() == green)
    found = engine.payloads()
    assert 999 in found
    assert 9 not in found
    assert found[8]["said"] == "quietly"
    assert not engine.migration["writes"].get("inStep", {}).get("toServing")


async def test_a_trusted_field_is_all_that_the_last_pass_goes_by(engine: EngineHarness) -> None:
    await engine.declare(200)
    green = await waiting(engine, trusted=True)
    engine.put(some_points(1, start=7, n=300))
    engine.put(some_points(1, start=8, said="quietly"))
    engine.delete([9])
    engine.annotate("promote", engine.migration["planHash"])
    await engine.until(lambda: engine.serving() == green)
    found = engine.payloads()
    assert found[7]["n"] == 300
    assert 9 not in found
    await engine.until(lambda: "cutOver" in engine.migration["writes"])
    assert "a write that does not raise n" in engine.migration["writes"]["guarantee"]
    await engine.until(lambda: engine.payloads()[8].get("said") == "quietly")


async def test_without_versions_the_guarantee_says_what_it_does_not_cover(qdrant: Qdrant, prefix: str) -> None:
    async with EngineHarness.start(qdrant, f"{prefix}docs") as engine:
        engine.edit(**WORDS)
        await engine.until_ready()
        application = Application(
            engine, sparse, at=number, weights={"insert": 1, "upsert": 2, "payload": 2, "delete": 1}
        )
        application.load(200)
        engine.edit(
            migration={"changeField": {"name": "about.at"}, "promotion": {"quietWait": "1s", "maxFence": "5s"}}
        )
        async with application.at_work() as told:
            engine.edit(schemaVersion="v2")
            await engine.until_ready()
            writes = engine.migration["writes"]
            await application.writes_more()
        assert application.differences() == []
        assert told.failures == []
        assert "a write that does not raise about.at" in writes["guarantee"]
        assert "about.at" in writes["proof"]


async def test_points_without_the_field_are_told(engine: EngineHarness) -> None:
    await engine.until_ready()
    engine.put([*some_points(40), *some_points(2, start=50, n="a word"), *some_points(1, start=60, n=True)])
    await waiting(engine)
    assert "3 points have no number or date in 'n'" in engine.told("MigrationWarning")


async def test_a_strict_collection_wants_an_index_on_it(engine: EngineHarness) -> None:
    engine.edit(strictMode={"enabled": True, "unindexedFilteringRetrieve": False})
    blue = await engine.declare(100)
    engine.edit(schemaVersion="v2", migration={"changeField": {"name": "n"}, "promotion": {"mode": "Manual"}})
    await engine.until_phase("AwaitingPromotion")
    engine.clock.advance(10)
    await engine.until(lambda: engine.condition("Stalled")["reason"] == "PayloadIndexRequired")
    engine.call("PUT", f"/collections/{blue}/index?wait=true", {"field_name": "n", "field_schema": "integer"})
    await another_pass(engine)
    assert engine.serving() == blue
