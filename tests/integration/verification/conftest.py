"""The pair: made once, because indexing takes seconds, and put right after each test."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from teal.qdrant.endpoint import Endpoint
from teal.qdrant.pool import Server
from tests.integration.verification.support import Pair
from tests.plugins.qdrant import Qdrant


def _server(qdrant: Qdrant) -> Server:
    return Server(Endpoint(qdrant.url, qdrant.grpc_port, qdrant.api_key))


@pytest.fixture(scope="session")
def names(qdrant: Qdrant) -> Iterator[tuple[str, str]]:
    """The names of two equal, indexed collections."""
    own = f"v{secrets.token_hex(4)}-"
    blue, green = f"{own}blue", f"{own}green"

    async def make() -> None:
        server = _server(qdrant)
        try:
            await asyncio.gather(*(Pair(server, blue, green).create(name) for name in (blue, green)))
        finally:
            await server.close()

    async def remove() -> None:
        server = _server(qdrant)
        for name in (blue, green):
            await server.admin.delete(name)
        await server.close()

    asyncio.run(make())
    yield blue, green
    asyncio.run(remove())


@pytest.fixture
async def pair(qdrant: Qdrant, names: tuple[str, str]) -> AsyncIterator[Pair]:
    server = _server(qdrant)
    try:
        yield Pair(server, *names)
        if qdrant.embedded is not None:
            qdrant.embedded.faults()
        await Pair(server, *names).restore()
    finally:
        await server.close()
