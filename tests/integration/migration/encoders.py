"""Two cheap encoders of different dimensions, and an EmbeddingSet that declares the first."""

from __future__ import annotations

import httpx

from devkit.embeddings import EmbeddingServer
from tests.integration.migration.support import Json

OLD, NEW = "teal/hashing-svd-16", "teal/hashing-svd-24"


def embedding_set(encoders: EmbeddingServer) -> Json:
    """By the old encoder."""
    return {
        "apiVersion": "teal.dev/v1alpha1",
        "kind": "EmbeddingSet",
        "metadata": {"name": "e", "namespace": "search"},
        "spec": {
            "schemaVersion": "v1",
            "dimensions": 16,
            "distance": "Cosine",
            "model": OLD,
            "embedder": {"openAI": {"url": encoders.url}},
            "source": {"collection": {"textField": "text"}},
        },
    }


def embed(encoders: EmbeddingServer, model: str, *texts: str) -> list[list[float]]:
    answer = httpx.post(f"{encoders.url}/embeddings", json={"model": model, "input": list(texts)})
    return [row["embedding"] for row in answer.raise_for_status().json()["data"]]
