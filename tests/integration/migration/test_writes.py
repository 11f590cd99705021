"""No acknowledged write is lost: counting clients write through the alias, without pause, all through a migration.

Each test goes there and back again with writers running, by the default mode (`CatchUp`, by point versions).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from devkit import corpus
from devkit.clients import Audit, Clients, Counts, Ledger, Workload, audit, load
from teal.domain.carry import UNLIMITED
from teal.migration.copying import copy_pass
from teal.migration.cutover import attempt
from teal.migration.sync.catching_up import Promotion
from tests.integration.migration.application import WHOLE_POINTS, Application, dense
from tests.integration.migration.encoders import NEW
from tests.integration.migration.support import SIZE, EngineHarness, some_points

MAX_FENCE = 5.0
BUSY = {"readers": 2, "writers": 3, "reads_per_second": 30, "writes_per_second": 40}
CALM = {"readers": 1, "writers": 1, "reads_per_second": 20, "writes_per_second": 0.5}

Json = dict[str, Any]


@asynccontextmanager
async def clients(engine: EngineHarness, ledger: Ledger, **load: float) -> AsyncIterator[Clients]:
    """Clients at work, beside the engine: what blocks is done in a thread."""
    qdrant = engine.qdrant
    workload = Workload(
        url=qdrant.url, alias=engine.alias, api_key=qdrant.api_key, entries=corpus.sample(400), **load
    )
    started = await asyncio.to_thread(Clients.start, workload, ledger)
    try:
        yield started
        await asyncio.to_thread(started.stop)
    finally:
        await asyncio.to_thread(started.close)


async def more(found: Clients, writes: int = 30) -> None:
    """Wait until the clients have written some more."""
    wanted = found.counts().all_writes + writes
    await asyncio.to_thread(found.wait_until, lambda now: now.all_writes >= wanted)


def loaded(engine: EngineHarness) -> Ledger:
    return load(engine.qdrant.url, engine.alias, corpus.sample(400), api_key=engine.qdrant.api_key)


def audited(engine: EngineHarness, ledger: Ledger) -> Audit:
    return audit(engine.qdrant.url, engine.alias, ledger, api_key=engine.qdrant.api_key)


def nothing_noticed(engine: EngineHarness, counts: Counts, ledger: Ledger) -> None:
    """No read failed, no write was lost, nothing came back; whoever was held back was so by the fence alone."""
    assert counts.failures == 0, counts.errors
    assert counts.unknown == 0
    assert counts.longest_stall_millis < MAX_FENCE * 1000
    found = audited(engine, ledger)
    assert found.ok, (found, f"longest stall {counts.longest_stall_millis:.0f} ms")
    assert found.points == len(ledger.points) > 0


def safely(writes: Json, mode: str = "CatchUp") -> Json:
    """What status says of the writes is whole, and how the alias moved."""
    assert writes["mode"] == mode
    assert writes["guarantee"]
    assert writes["passes"] > 1
    assert writes["proof"]
    return dict(writes["cutOver"])


def counted(cutover: Json) -> None:
    """If it is called proved, every shard has risen by the barriers alone, and nothing came late."""
    rises = [after - before for before, after in zip(cutover["opNumBefore"], cutover["opNumAfter"], strict=True)]
    assert cutover["proved"] == (set(rises) == {cutover["barriers"]})
    assert not cutover["proved"] or (cutover["lateWrites"], cutover["conflicts"]) == (0, 0)


async def test_without_a_migration_nothing_is_lost_and_a_loss_is_seen(engine: EngineHarness) -> None:
    await engine.until_ready()
    ledger = loaded(engine)
    async with clients(engine, ledger, **BUSY) as found:
        await more(found)
    nothing_noticed(engine, found.counts(), found.ledger)
    assert found.counts().throttled == 0
    body = {"payload": {"n": -1}, "points": [_any_of(found.ledger)]}
    engine.call("POST", f"/collections/{engine.alias}/points/payload?wait=true", body)
    assert audited(engine, found.ledger).wrong_payload == 1


async def test_the_same_encoder_there_and_back_under_writers_that_never_pause(engine: EngineHarness) -> None:
    engine.edit(migration={"promotion": {"quietWait": "1s", "maxFence": f"{MAX_FENCE:g}s"}})
    await engine.until_ready()
    ledger, blue = loaded(engine), engine.serving()
    async with clients(engine, ledger, **BUSY) as found:
        engine.edit(schemaVersion="v2")
        await engine.until_ready()
        there = safely(engine.migration["writes"])
        green = engine.serving()
        await more(found)
        assert engine.migration["writes"]["caughtUp"] > 0
        engine.edit(schemaVersion="v1")
        await engine.until(lambda: engine.serving() == blue)
        await engine.until_ready()
        await more(found)
    nothing_noticed(engine, found.counts(), found.ledger)
    assert green != blue
    # A machine that is busy enough makes a moment's quiet: then writers were held back for an instant only.
    assert there["switch"] in ("Fenced", "Quiet")
    counted(there)
    assert 0 < there["fenceMillis"] <= MAX_FENCE * 1000


async def test_another_encoder_there_and_back_under_writers_that_never_pause(encoding: EngineHarness) -> None:
    engine = encoding
    engine.edit(migration={"promotion": {"quietWait": "1s", "maxFence": f"{MAX_FENCE:g}s"}})
    await engine.until_ready()
    ledger, blue = loaded(engine), engine.serving()
    async with clients(engine, ledger, **BUSY) as found:
        engine.edit_embedding_set(schemaVersion="v2", dimensions=24, model=NEW)
        await engine.until_ready()
        safely(engine.migration["writes"])
        await more(found)
    nothing_noticed(engine, found.counts(), found.ledger)
    assert engine.serving() != blue
    async with clients(engine, found.ledger, **BUSY) as returning:
        engine.annotate("rollback", engine.migration["id"])
        await engine.until_phase("Held")
        await more(returning)
    assert engine.serving() == blue
    nothing_noticed(engine, returning.counts(), without_bare_vectors(returning.ledger, "v2"))


async def test_a_quiet_moment_is_taken_and_writers_are_held_back_for_an_instant(engine: EngineHarness) -> None:
    engine.edit(migration={"promotion": {"quietWait": "60s"}})
    await engine.until_ready()
    ledger = loaded(engine)
    async with clients(engine, ledger, **CALM) as found:
        engine.edit(schemaVersion="v2")
        await engine.until_ready()
        await more(found, 1)
    nothing_noticed(engine, found.counts(), found.ledger)
    cutover = safely(engine.migration["writes"])
    assert cutover["switch"] == "Quiet"
    assert cutover["proved"]
    counted(cutover)


async def test_a_quiet_moment_is_enough_where_no_writer_may_be_held_back(engine: EngineHarness) -> None:
    engine.edit(migration={"promotion": {"fence": "Never", "quietWait": "60s"}})
    await engine.until_ready()
    ledger = loaded(engine)
    async with clients(engine, ledger, **CALM) as found:
        engine.edit(schemaVersion="v2")
        await engine.until_ready()
        await more(found, 1)
    nothing_noticed(engine, found.counts(), found.ledger)
    cutover = safely(engine.migration["writes"])
    assert (cutover["switch"], cutover["fenceMillis"]) == ("Quiet", 0)
    counted(cutover)
    assert found.counts().throttled == 0


async def test_a_write_right_after_the_quiet_pass_is_caught_up_before_the_cutover(
    engine: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.declare(50)
    engine.edit(migration={"promotion": {"fence": "Never", "quietWait": "60s"}})
    notes, written = Promotion.notes, list[int]()

    async def and_write(catch_up: Promotion) -> Any:
        found = await notes(catch_up)
        if not written:
            written.append(1000)
            engine.put(some_points(1, start=1000))
        return found

    monkeypatch.setattr(Promotion, "notes", and_write)
    engine.edit(schemaVersion="v2")
    await engine.until_ready()
    cutover = safely(engine.migration["writes"])
    assert (cutover["switch"], cutover["lateWrites"], cutover["proved"]) == ("Quiet", 0, True)
    counted(cutover)
    assert engine.points().keys() == {*range(1, 51), 1000}


async def test_a_write_between_the_quiet_pass_and_the_fence_is_copied_under_it(
    engine: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.declare(50)
    prepare, written = attempt.prepare_fence, list[int]()

    async def and_write(*given: Any) -> None:
        await prepare(*given)
        if not written:
            written.append(1000)
            engine.put(some_points(1, start=1000))

    monkeypatch.setattr(attempt, "prepare_fence", and_write)
    engine.edit(schemaVersion="v2")
    await engine.until_ready()
    cutover = safely(engine.migration["writes"])
    assert (cutover["switch"], cutover["lateWrites"], cutover["proved"]) == ("Fenced", 0, True)
    counted(cutover)
    assert engine.points().keys() == {*range(1, 51), 1000}


async def test_a_write_that_had_resolved_the_alias_before_it_moved_is_told_as_late(
    engine: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hung between its check and its operation for longer than the settle time: copied, counted, not proved."""
    await engine.declare(50)
    blue, lift = engine.serving(), attempt.lift_fence

    async def and_write(*given: Any) -> None:
        await lift(*given)
        engine.put(some_points(1, start=1000), blue)

    monkeypatch.setattr(attempt, "lift_fence", and_write)
    engine.edit(schemaVersion="v2")
    await engine.until_ready()
    writes = engine.migration["writes"]
    cutover = safely(writes)
    assert (cutover["lateWrites"], cutover["conflicts"], cutover["proved"]) == (1, 0, False)
    assert "up to 1 operations that are not Teal's" in writes["proof"]
    assert engine.points().keys() == {*range(1, 51), 1000}


async def test_a_writer_that_leaves_no_quiet_moment_is_fenced_and_let_go(
    engine: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.edit(migration={"promotion": {"quietWait": "1s", "maxFence": f"{MAX_FENCE:g}s"}})
    blue, answers = await engine.declare(50), []
    engine.edit(strictMode={"enabled": True, "maxQueryLimit": 20_000, "writeRateLimit": 60_000})
    await engine.until(lambda: "ChangedInPlace" in engine.reasons())
    own = strict_mode(engine, blue)
    assert own["write_rate_limit"] == 60_000
    advance = copy_pass.advance

    async def and_write(*given: Any, **options: Any) -> bool:
        complete = await advance(*given, **options)
        if complete and engine.serving() == blue:
            body = {"points": some_points(1, start=1000 + len(answers))}
            answers.append(engine.answered("PUT", f"/collections/{engine.alias}/points?wait=true", body))
        return complete

    monkeypatch.setattr(copy_pass, "advance", and_write)
    engine.edit(schemaVersion="v2")
    await engine.until_ready()
    cutover = safely(engine.migration["writes"])
    assert cutover["switch"] == "Fenced"
    assert 0 < cutover["fenceMillis"] <= MAX_FENCE * 1000
    assert answers[-1] == httpx.codes.TOO_MANY_REQUESTS
    assert set(answers[:-1]) == {httpx.codes.OK}
    acknowledged = {1000 + n for n, answer in enumerate(answers) if answer == httpx.codes.OK}
    assert engine.points().keys() == {*range(1, 51), *acknowledged}
    assert strict_mode(engine, blue) == own
    assert "fence" not in str(engine.marks(blue))


def strict_mode(engine: EngineHarness, name: str) -> Json:
    """What a collection's strict mode limits; a limit that nobody reaches is none."""
    found = engine.call("GET", f"/collections/{name}")["config"]["strict_mode_config"]
    return {field: value for field, value in found.items() if value not in (None, UNLIMITED)}


@pytest.fixture
def cutovers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """When each cut-over began its last pass, and when it was over, as monotonic times."""
    found: list[tuple[float, float]] = []
    real = attempt.attempt

    async def timed(*given: Any) -> Any:
        began = time.monotonic()
        proof = await real(*given)
        if proof is not None:
            found.append((began, time.monotonic()))
        return proof

    monkeypatch.setattr(attempt, "attempt", timed)
    return found


async def test_without_a_fence_whole_writes_are_drained_and_nobody_waits(
    engine: EngineHarness, cutovers: list[tuple[float, float]]
) -> None:
    engine.edit(migration={"promotion": {"fence": "Never", "quietWait": "0s"}})
    await engine.until_ready()
    blue, application = engine.serving(), Application(engine, dense(SIZE), weights=WHOLE_POINTS)
    application.load(1500)
    async with application.at_work() as told:
        engine.edit(schemaVersion="v2")
        await engine.until_ready()
        cutover = safely(engine.migration["writes"])
        await application.writes_more()
        engine.edit(schemaVersion="v1")
        await engine.until(lambda: engine.serving() == blue)
        await application.writes_more()
    await engine.until_ready()
    assert len(cutovers) == 2
    # The first write on one side, the second on the other: without a fence nobody can tell which was the last.
    unclear = {point for cutover in cutovers for point in application.written_twice(*cutover)}
    assert len(unclear) < 0.2 * len(application.points)
    assert application.differences(but=unclear) == []
    assert (told.throttled, told.failures) == (0, [])
    assert cutover["switch"] in ("Unfenced", "Quiet")
    assert not cutover["fenceMillis"]


def without_bare_vectors(ledger: Ledger, schema_version: str) -> Ledger:
    """Leave out points whose vector was last written alone and by the encoder that was left: it cannot go back."""
    for point, held in list(ledger.points.items()):
        if held.vector_of != held.payload["text"] and f"@{schema_version}/" in held.encoder:
            ledger.doubt(point)
    return ledger


def _any_of(ledger: Ledger) -> int | str:
    return next(iter(ledger.points))
