"""One engine with one resource for each test, and encoders for those that embed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from devkit.embeddings import EmbeddingServer
from tests.integration.migration.encoders import NEW, OLD, embedding_set
from tests.integration.migration.support import EngineHarness
from tests.plugins.qdrant import Qdrant


@pytest.fixture
async def engine(qdrant: Qdrant, prefix: str) -> AsyncIterator[EngineHarness]:
    """A declared collection whose alias is the test's own."""
    async with EngineHarness.start(qdrant, f"{prefix}docs") as harness:
        yield harness


@pytest.fixture(scope="module")
def encoders() -> Iterator[EmbeddingServer]:
    with EmbeddingServer.start(models=[OLD, NEW], faults=True) as server:
        yield server


@pytest.fixture
async def encoding(qdrant: Qdrant, prefix: str, encoders: EmbeddingServer) -> AsyncIterator[EngineHarness]:
    """The same with vectors made by the old encoder."""
    async with EngineHarness.start(qdrant, f"{prefix}docs", embedding_set=embedding_set(encoders)) as harness:
        yield harness
    encoders.faults()
