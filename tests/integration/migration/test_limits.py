"""Limits are meant for the application: Teal fills green without them, and green has them when it serves."""

from __future__ import annotations

from tests.integration.migration.support import EngineHarness, Json

MANUAL = {"promotion": {"mode": "Manual"}}
LIMITS = {"enabled": True, "write_rate_limit": 90, "max_query_limit": 12, "upsert_max_batchsize": 40}


def limits(engine: EngineHarness, name: str) -> Json:
    found = engine.call("GET", f"/collections/{name}")["config"].get("strict_mode_config") or {}
    return {key: value for key, value in found.items() if value is not None}


async def limited(engine: EngineHarness, **given: object) -> str:
    """Blue, with these limits."""
    blue = await engine.declare(200)
    engine.call("PATCH", f"/collections/{blue}", {"strict_mode_config": {**LIMITS, **given}})
    assert limits(engine, blue) == {**LIMITS, **given}
    return blue


async def test_green_gets_blues_limits_right_before_it_serves(engine: EngineHarness) -> None:
    blue = await limited(engine)
    engine.edit(schemaVersion="v2", migration=MANUAL)
    await engine.until_phase("AwaitingPromotion")
    green = engine.migration["target"]
    assert not limits(engine, green).get("enabled")
    engine.annotate("promote", engine.migration["planHash"])
    await engine.until_ready()
    assert engine.serving() == green
    assert limits(engine, green) == limits(engine, blue) == LIMITS


async def test_a_declared_limit_comes_with_the_cutover(engine: EngineHarness) -> None:
    await engine.declare(200)
    engine.edit(schemaVersion="v2", strictMode={"enabled": True, "writeRateLimit": 90})
    await engine.until_ready()
    assert limits(engine, engine.serving()) == {"enabled": True, "write_rate_limit": 90}


async def test_a_rate_of_reads_slows_a_migration_and_does_not_stop_it(engine: EngineHarness) -> None:
    blue = await limited(engine, read_rate_limit=6000)
    engine.edit(schemaVersion="v2")
    await engine.until_ready()
    assert engine.serving() != blue
    for name in (blue, engine.serving()):
        engine.call("PATCH", f"/collections/{name}", {"strict_mode_config": {"enabled": False}})
    assert engine.payloads().keys() == engine.payloads(blue).keys()
