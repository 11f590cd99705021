"""Texts that are embedded anew: each is paid for once, whatever happens to the embedder or to Teal."""

from __future__ import annotations

import pytest

from devkit.embeddings import EmbeddingServer
from tests.integration.migration.encoders import NEW
from tests.integration.migration.support import EngineHarness


@pytest.mark.fault(18)
@pytest.mark.fault(19)
async def test_equal_texts_are_paid_once_and_all_their_points_are_there(
    encoding: EngineHarness, encoders: EmbeddingServer
) -> None:
    """Though the embedder limits the rate, breaks down in the middle, and Teal is restarted."""
    await encoding.until_ready()
    texts = [f"text {n % 40}" for n in range(120)]
    points = [{"id": n, "vector": [1.0] * 16, "payload": {"text": text}} for n, text in enumerate(texts)]
    encoding.put(points)
    encoders.faults(
        {"kind": "rate-limit", "seconds": 0.1, "agent": "teal", "containing": "text"},
        {"kind": "error", "status": 503, "skip": 1, "times": 3, "agent": "teal", "containing": "text"},
    )
    paid = encoders.calls("teal").texts
    encoding.edit(migration={"parallelism": 1})
    encoding.edit_embedding_set(schemaVersion="v2", dimensions=24, model=NEW)
    await encoding.until_phase("Populating")
    await encoding.restart()
    await encoding.until_ready()
    found = encoding.points()
    assert {name: point["payload"]["text"] for name, point in found.items()} == dict(enumerate(texts))
    assert all(found[n]["vector"] == found[n + 40]["vector"] for n in range(80))
    probes = 20
    assert encoders.calls("teal").texts - paid <= len(set(texts)) + 32 + probes
