"""What others change by hand is found without being told, when it is time to look."""

from __future__ import annotations

from tests.integration.migration.support import EngineHarness

LISTED = 30.0
"""Seconds; aliases are listed twice a minute."""


async def test_an_alias_that_is_gone_comes_back(engine: EngineHarness) -> None:
    serving = await engine.declare()
    await engine.rest()
    engine.call("POST", "/collections/aliases", {"actions": [{"delete_alias": {"alias_name": engine.alias}}]})
    await engine.rest()
    assert engine.alias not in engine.aliases()
    engine.clock.advance(LISTED)
    await engine.until(lambda: engine.aliases().get(engine.alias) == serving)
    await engine.until_ready()
    assert engine.reasons().count("AliasRestored") == 1
