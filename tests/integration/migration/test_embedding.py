"""Texts that are embedded anew: each is paid for once, whatever happens to the embedder or to Teal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from devkit.embeddings import EmbeddingServer
from teal.sources.embedder import OpenAIEmbedder
from tests.integration.migration.encoders import NEW, OLD, embed
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
    samples = 2 * 32  # of blue's texts and of green's, which verification embeds once more
    assert encoders.calls("teal").texts - paid <= len(set(texts)) + samples + probes


async def test_vectors_that_failed_a_verification_are_made_again(
    encoding: EngineHarness, encoders: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An embedder answers with nonsense of the right size, and is repaired: `retry` believes none of that."""
    made, random = OpenAIEmbedder._request, np.random.default_rng(5)

    async def nonsense(self: OpenAIEmbedder, texts: list[str], dimensions: int | None) -> Any:
        batch = await made(self, texts, dimensions)
        if dimensions != 24:
            return batch
        return replace(batch, vectors=[random.normal(size=24).astype(np.float32) for _ in batch.vectors])

    await encoding.until_ready()
    texts = [f"a text about {word} {n}" for n, word in enumerate(["cats", "ships", "trees"] * 20)]
    olds = embed(encoders, OLD, *texts)
    encoding.put({"id": n, "vector": olds[n], "payload": {"text": text}} for n, text in enumerate(texts))
    monkeypatch.setattr(OpenAIEmbedder, "_request", nonsense)
    encoding.edit(migration={"promotion": {"mode": "Manual"}})
    encoding.edit_embedding_set(schemaVersion="v2", dimensions=24, model=NEW)
    await encoding.until_phase("Held")
    assert "Embeddings" in encoding.migration["lastError"]
    monkeypatch.setattr(OpenAIEmbedder, "_request", made)
    await encoding.restart()
    encoding.annotate("retry", encoding.migration["id"])
    await encoding.until_phase("AwaitingPromotion")
    green = encoding.points(encoding.migration["target"])
    news = embed(encoders, NEW, *texts)
    assert [green[n]["vector"] for n in range(60)] == [pytest.approx(row, abs=1e-4) for row in news]
