"""Fills a collection with a corpus, as an application does before any migration."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import httpx

from devkit.clients.encoding import Encoder, Floats, embed
from devkit.clients.ledger import Held, Ledger, PointId
from devkit.corpus import Entry

BATCH = 64
TIMEOUT = 120.0
# Every so many points have a UUID; the others are numbered.
UUID_EVERY = 4


def load(
    url: str,
    collection: str,
    entries: Sequence[Entry],
    vectors: Floats | None = None,
    *,
    api_key: str | None = None,
) -> Ledger:
    """Upsert one point for each entry into `collection` (or behind an alias); returns the acknowledged points.

    `vectors` are those of the entries' texts by the collection's encoder; without them they are made.

    Raises:
        httpx.HTTPError: Qdrant or the embedder cannot be reached or refuses.
    """
    ledger, path = Ledger(), f"/collections/{collection}"
    headers = {"api-key": api_key} if api_key else {}
    with (
        httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT) as qdrant,
        httpx.Client(timeout=TIMEOUT) as embedder,
    ):
        encoder = Encoder.of(qdrant.get(path).raise_for_status().json()["result"])
        for start in range(0, len(entries), BATCH):
            batch = entries[start : start + BATCH]
            made = (
                embed(embedder, encoder, [entry.text for entry in batch])
                if vectors is None
                else vectors[start : start + BATCH]
            )
            points = [
                {"id": _id(start + at), "vector": vector.tolist(), "payload": _payload(entry)}
                for at, (entry, vector) in enumerate(zip(batch, made, strict=True))
            ]
            qdrant.put(f"{path}/points?wait=true", json={"points": points}).raise_for_status()
            for at, entry in enumerate(batch):
                ledger.put(_id(start + at), Held(_payload(entry), entry.text, encoder.key))
    return ledger


def _id(number: int) -> PointId:
    if number % UUID_EVERY == UUID_EVERY - 1:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"teal:corpus:{number}"))
    return number


def _payload(entry: Entry) -> dict[str, Any]:
    return {"text": entry.text, "source": entry.source, "module": entry.module, "n": 0, "writer": -1}
