"""A declared collection whose migrations can be held."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.faults.support import Migrating
from tests.integration.migration.support import EngineHarness
from tests.plugins.qdrant import Qdrant


@pytest.fixture
async def migrating(qdrant: Qdrant, prefix: str) -> AsyncIterator[Migrating]:
    async with Migrating.start(qdrant, f"{prefix}docs") as found:
        yield found


@pytest.fixture
async def engine(migrating: Migrating) -> EngineHarness:
    return migrating.engine
