"""After the cut-over: what is worse than before is undone by itself, and nothing is concluded from silence."""

from __future__ import annotations

import pytest

from tests.integration.migration.servers import PrometheusServer
from tests.integration.migration.support import EngineHarness, some_points

EUCLID = {"distance": "Euclid"}
WATCH = {"duration": "60s", "interval": "1s", "maxLatencyRatio": 1000}
QUERY = "GRPC qdrant.Points/Query"


async def cut_over(engine: EngineHarness, **watch: object) -> tuple[str, str]:
    """Blue and green, of which green has been looked at once."""
    blue = await engine.declare()
    engine.edit(watch={**WATCH, **watch}, **EUCLID)
    await engine.until(
        lambda: engine.phase == "Watching" and "watchedSeconds" in (engine.migration.get("watch") or {})
    )
    return blue, engine.serving()


async def test_a_watch_that_finds_nothing_ends(engine: EngineHarness) -> None:
    _, green = await cut_over(engine, duration="2s")
    assert engine.condition("Ready")["status"] == "True"
    assert engine.migration["watch"]["p95MillisBefore"] > 0
    await engine.until_ready()
    assert engine.serving() == green
    assert "has served for 2 s" in engine.told("MigrationCompleted")


async def test_what_answers_nothing_is_undone_at_once(engine: EngineHarness) -> None:
    blue, green = await cut_over(engine)
    engine.put(some_points(4, start=700))
    await engine.step()
    engine.delete([*range(1, 61), *range(700, 704)])
    await engine.until_phase("Held")
    assert engine.serving() == blue
    assert set(engine.payloads()) >= set(range(1, 61))
    stalled = engine.condition("Stalled")
    assert stalled["reason"] == "WatchBreached"
    assert "found nothing" in stalled["message"]
    assert "are kept" in engine.told("MigrationRolledBack")
    assert green in engine.collections()
    await engine.restart()
    await engine.rest()
    assert engine.serving() == blue
    assert engine.reasons().count("WatchBreached") == 1


async def test_slow_answers_are_undone_when_they_last(engine: EngineHarness) -> None:
    blue, _ = await cut_over(engine, duration="6s", maxLatencyRatio=2)
    engine.put(some_points(3, start=800))
    engine.qdrant.need_faults().faults(match=QUERY, delay=0.2, times=0)
    await engine.until(lambda: "WatchBreached" in engine.reasons())
    engine.qdrant.need_faults().faults()
    assert "95th percentile" in engine.told("WatchBreached")
    await engine.until_phase("Held")
    assert engine.serving() == blue
    assert set(engine.payloads()) == {*range(1, 61), 800, 801, 802}


async def test_errors_are_undone_though_green_cannot_be_read_and_its_writes_follow(engine: EngineHarness) -> None:
    blue, green = await cut_over(engine, duration="6s")
    engine.put(some_points(3, start=800))
    engine.qdrant.need_faults().faults(match=QUERY, status=500, times=0)
    await engine.until(lambda: "WatchBreached" in engine.reasons())
    assert "of the searches through the alias failed" in engine.told("WatchBreached")
    await engine.rest(2)
    assert engine.serving() == green
    engine.clock.advance(31.0)
    await engine.until(lambda: "MigrationRolledBack" in engine.reasons())
    assert engine.serving() == blue
    assert "cannot be read" in engine.told("MigrationRolledBack")
    engine.qdrant.need_faults().faults()
    await engine.until(lambda: set(engine.payloads()) == {*range(1, 61), 800, 801, 802})
    assert engine.phase == "Held"


async def test_a_breach_that_has_passed_is_none(engine: EngineHarness) -> None:
    _, green = await cut_over(engine, duration="30s", maxLatencyRatio=20)
    engine.qdrant.need_faults().faults(match=QUERY, delay=0.2, times=20)
    await engine.step()
    await engine.step()
    engine.clock.advance(20.0)
    await engine.until_ready()
    assert engine.serving() == green


async def test_time_in_which_qdrant_is_away_is_not_watched(engine: EngineHarness) -> None:
    await cut_over(engine)
    seen = engine.migration["watch"]["watchedSeconds"]
    engine.qdrant.need_faults().faults(match=QUERY, drop=True, times=0)
    engine.clock.advance(1.0)
    await engine.until(lambda: "paused" in engine.migration["watch"])
    engine.clock.advance(3600.0)
    await engine.rest()
    engine.qdrant.need_faults().faults()
    assert engine.phase == "Watching"
    engine.clock.advance(1.0)
    await engine.until(lambda: "paused" not in engine.migration["watch"])
    assert engine.migration["watch"]["watchedSeconds"] <= seen + 5


async def test_a_restart_goes_on_with_what_has_been_watched(engine: EngineHarness) -> None:
    await cut_over(engine, duration="100s", interval="40s")
    for _ in range(2):
        engine.clock.advance(40.0)
        await engine.step()
    assert engine.migration["watch"]["watchedSeconds"] >= 80
    await engine.restart()
    engine.clock.advance(3600.0)
    await engine.step()
    assert 80 <= engine.migration["watch"]["watchedSeconds"] < 100
    assert engine.phase == "Watching"
    engine.clock.advance(41.0)
    await engine.until_ready()


async def test_a_breach_is_followed_after_a_crash(engine: EngineHarness) -> None:
    blue, _ = await cut_over(engine)
    engine.put(some_points(2, start=800))
    engine.delete(list(range(1, 61)))
    engine.delete([800, 801])
    engine.clock.advance(1.0)
    await engine.step()
    assert "WatchBreached" in engine.reasons()
    await engine.restart()
    engine.status = {}
    await engine.until_phase("Held")
    assert engine.serving() == blue


async def test_prometheus_is_listened_to(engine: EngineHarness) -> None:
    async with PrometheusServer.start() as prometheus:
        prometheus.values["clicks"] = ["0.5"]
        queries = [{"name": "clicks", "query": "clicks", "min": 0.3}]
        blue, _ = await cut_over(engine, prometheus={"url": prometheus.url, "queries": queries})
        assert prometheus.asked
        prometheus.values["clicks"] = ["0.2"]
        engine.clock.advance(1.0)
        await engine.until_phase("Held")
        assert engine.serving() == blue
        assert "'clicks' is 0.2, below its min 0.3" in engine.condition("Stalled")["message"]


@pytest.mark.fault(14)
@pytest.mark.fault(14)
@pytest.mark.parametrize("values", [[], ["1", "2"], ["NaN"]])
async def test_a_query_without_a_value_pauses_the_watch(engine: EngineHarness, values: list[str]) -> None:
    async with PrometheusServer.start() as prometheus:
        prometheus.values["clicks"] = values
        queries = [{"name": "clicks", "query": "clicks", "max": 1}]
        await cut_over(engine, duration="2s", prometheus={"url": prometheus.url, "queries": queries})
        for _ in range(5):
            engine.clock.advance(1.0)
            await engine.step()
        assert engine.phase == "Watching"
        assert engine.migration["watch"]["watchedSeconds"] == 0
        assert "'clicks' gave no value" in engine.migration["watch"]["paused"]
        assert "The watch is paused" in engine.condition("Reconciling")["message"]
        prometheus.values["clicks"] = ["1"]
        await engine.until_ready()


async def test_a_prometheus_that_is_away_pauses_the_watch(engine: EngineHarness) -> None:
    async with PrometheusServer.start() as prometheus:
        prometheus.values["clicks"] = ["1"]
        queries = [{"name": "clicks", "query": "clicks", "max": 1}]
        await cut_over(engine, duration="2s", prometheus={"url": prometheus.url, "queries": queries})
        prometheus.down = True
        for _ in range(5):
            engine.clock.advance(1.0)
            await engine.step()
        assert engine.phase == "Watching"
        assert "answered 502" in engine.migration["watch"]["paused"]
        prometheus.down = False
        await engine.until_ready()
