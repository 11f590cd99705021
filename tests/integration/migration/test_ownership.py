"""One manifest applied for two aliases, as two pipelines may do: neither touches what the other one has."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.migration.support import EngineHarness
from tests.plugins.qdrant import Qdrant

MANUAL = {"promotion": {"mode": "Manual"}}


@pytest.fixture
async def staging(qdrant: Qdrant, prefix: str) -> AsyncIterator[EngineHarness]:
    """The resource `search/docs` like `engine`'s, whose alias begins with the other one's."""
    async with EngineHarness.start(qdrant, f"{prefix}docs-staging") as harness:
        yield harness


async def test_another_aliass_green_is_not_dropped(engine: EngineHarness, staging: EngineHarness) -> None:
    await staging.declare(30)
    staging.edit(schemaVersion="v2", migration=MANUAL)
    await staging.until_phase("AwaitingPromotion")
    await engine.until_ready()
    await engine.rest()
    assert staging.migration["target"] in staging.collections()
    assert engine.serving().startswith(f"{engine.alias}-v1-")
    await staging.rest()
    assert staging.phase == "AwaitingPromotion"


async def test_another_aliass_collection_never_serves(engine: EngineHarness, staging: EngineHarness) -> None:
    blue = await staging.declare(30)
    await engine.until_ready()
    assert engine.serving() != blue
    assert engine.payloads() == {}
    assert set(staging.payloads()) == set(range(1, 31))
