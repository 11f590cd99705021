"""One engine with one resource for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.migration.support import EngineHarness
from tests.plugins.qdrant import Qdrant


@pytest.fixture
async def engine(qdrant: Qdrant, prefix: str) -> AsyncIterator[EngineHarness]:
    """A declared collection whose alias is the test's own."""
    async with EngineHarness.start(qdrant, f"{prefix}docs") as harness:
        yield harness
