"""The Qdrant that tests run on: the embedded one, or the one at `QDRANT_URL`.

    QDRANT_URL, QDRANT_GRPC_PORT (6334), QDRANT_API_KEY     a real server, shared with whoever else uses it

Whatever a test creates carries its `prefix`, and is removed after it; tests that need faults skip where
`qdrant.embedded` is None.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from devkit.qdrant import EmbeddedQdrant


@dataclass(frozen=True)
class Qdrant:
    """Where the server is, and its handle if it is ours."""

    url: str
    grpc_port: int
    api_key: str | None = None
    embedded: EmbeddedQdrant | None = None

    def client(self) -> httpx.Client:
        """A client of the REST interface; close it."""
        headers = {"api-key": self.api_key} if self.api_key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60.0)

    def need_faults(self) -> EmbeddedQdrant:
        """The embedded server, which can be broken at will; skips the test on a real one."""
        if self.embedded is None:
            pytest.skip("faults need the embedded Qdrant")
        return self.embedded


@pytest.fixture(scope="session")
def qdrant() -> Iterator[Qdrant]:
    """One server for the whole session."""
    if url := os.environ.get("QDRANT_URL"):
        port = int(os.environ.get("QDRANT_GRPC_PORT", "6334"))
        yield Qdrant(url.rstrip("/"), port, os.environ.get("QDRANT_API_KEY"))
        return
    with EmbeddedQdrant.start(faults=True) as server:
        yield Qdrant(server.url, server.grpc_port, embedded=server)


@pytest.fixture
def prefix(qdrant: Qdrant) -> Iterator[str]:
    """A name prefix of the test's own; collections and aliases that begin with it go when the test ends."""
    own = f"t{secrets.token_hex(4)}-"
    yield own
    if qdrant.embedded is not None:
        qdrant.embedded.faults()
    with qdrant.client() as client:
        _remove(client, own)


def _remove(client: httpx.Client, prefix: str) -> None:
    aliases = client.get("/aliases").raise_for_status().json()["result"]["aliases"]
    names = [alias["alias_name"] for alias in aliases if alias["alias_name"].startswith(prefix)]
    actions = [{"delete_alias": {"alias_name": name}} for name in names]
    if actions:
        client.post("/collections/aliases", json={"actions": actions}).raise_for_status()
    collections = client.get("/collections").raise_for_status().json()["result"]["collections"]
    for collection in collections:
        if collection["name"].startswith(prefix):
            client.delete(f"/collections/{collection['name']}").raise_for_status()
