"""A cluster of Qdrants, at least two of them: QDRANT_PEERS=url,url,url, as they reach each other.

The peers have one HTTP port, and the gRPC port QDRANT_GRPC_PORT (6334), as pods have. Without it these tests are
skipped: neither the embedded server nor one node has replicas. The suites of one server run on such a cluster, too
(QDRANT_URL). QDRANT_KILL_PEER and QDRANT_START_PEER are commands that end the peer `{peer}` (1, 2, …) without
warning and start it again; tests that need them are skipped without.
"""

from __future__ import annotations

import os

import pytest

from tests.plugins.qdrant import Qdrant


@pytest.fixture(scope="session")
def peers() -> list[str]:
    urls = [url.rstrip("/") for url in os.environ.get("QDRANT_PEERS", "").split(",") if url]
    if len(urls) < 2:
        pytest.skip("QDRANT_PEERS names no cluster")
    return urls


@pytest.fixture(scope="session")
def qdrant(peers: list[str]) -> Qdrant:
    """The first peer, which is the one that is declared."""
    return Qdrant(peers[0], int(os.environ.get("QDRANT_GRPC_PORT", "6334")), os.environ.get("QDRANT_API_KEY"))
