"""Compares a collection with the acknowledged writes of its clients: every point, over the network.

Payloads and ids must be equal. A vector must be the acknowledged one or, if the collection now has another
encoder, that encoder's vector of the text. If the encoder has to be asked, only a sample is compared.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from devkit.clients.encoding import Encoder, Floats, embed
from devkit.clients.ledger import Held, Ledger, PointId

PAGE = 256
BATCH = 64
MAX_SAMPLES = 10
TIMEOUT = 120.0


@dataclass
class Audit:
    """The differences: at most ten ids of each kind in `samples`, counts in the fields of the same names."""

    points: int = 0
    """Compared points: those that must exist according to the ledger."""
    vectors: int = 0
    """Compared vectors."""
    unsure: int = 0
    """Points that were left out, because a write to them failed."""
    lost: int = 0
    """Acknowledged points that do not exist."""
    resurrected: int = 0
    """Points that exist although their deletion was acknowledged."""
    unexpected: int = 0
    """Points that no client wrote."""
    wrong_payload: int = 0
    wrong_vector: int = 0
    samples: dict[str, list[PointId]] = field(default_factory=dict)

    @property
    def lost_writes(self) -> int:
        """Acknowledged writes that the collection does not show."""
        return self.lost + self.resurrected + self.wrong_payload + self.wrong_vector

    @property
    def ok(self) -> bool:
        """No write was lost, and no point was invented."""
        return self.lost_writes == 0 and self.unexpected == 0

    def blame(self, what: str, point: PointId) -> None:
        setattr(self, what, getattr(self, what) + 1)
        samples = self.samples.setdefault(what, [])
        if len(samples) < MAX_SAMPLES:
            samples.append(point)


def audit(
    url: str,
    collection: str,
    ledger: Ledger,
    *,
    api_key: str | None = None,
    tolerance: float = 1e-5,
    directions: bool | None = None,
    sample: int = 500,
) -> Audit:
    """Compare `collection` (or the one behind an alias) with `ledger`, while nobody writes.

    Args:
        tolerance: of each element, after vectors are normalised (directions) or in units of their length.
        directions: compare only directions; default: if the collection is Cosine, which keeps no lengths.
        sample: how many vectors to compare where an embedder has to be asked for them; all where not.

    Raises:
        httpx.HTTPError: Qdrant or the embedder cannot be reached or refuses.
        EncodingError: the embedder answers something else than vectors.
    """
    headers = {"api-key": api_key} if api_key else {}
    report = Audit(unsure=len(ledger.unsure))
    with (
        httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT) as qdrant,
        httpx.Client(timeout=TIMEOUT) as embedder,
    ):
        info = qdrant.get(f"/collections/{collection}").raise_for_status().json()["result"]
        encoder = Encoder.of(info)
        if directions is None:
            directions = info["config"]["params"]["vectors"]["distance"] == "Cosine"
        vectors = _compare(_scroll(qdrant, collection), ledger, report)
        for batch in _batches(vectors, sample if encoder.url else len(vectors)):
            texts = [_text_of(ledger.points[point], encoder) for point in batch]
            expected = dict(zip(batch, embed(embedder, encoder, texts), strict=True))
            for point in batch:
                if not _equal(vectors[point], expected[point], tolerance, directions=directions):
                    report.blame("wrong_vector", point)
            report.vectors += len(batch)
    return report


def _compare(found: Iterator[dict[str, Any]], ledger: Ledger, report: Audit) -> dict[PointId, Floats]:
    """Judge ids and payloads; return the vectors of the points whose vectors can be judged."""
    vectors: dict[PointId, Floats] = {}
    for record in found:
        point, held = record["id"], ledger.points.get(record["id"])
        if held is not None:
            vectors[point] = np.array(record["vector"] or [], np.float32)
            if record["payload"] != held.payload:
                report.blame("wrong_payload", point)
        elif point in ledger.deleted:
            report.blame("resurrected", point)
        elif point not in ledger.unsure:
            report.blame("unexpected", point)
    for point in ledger.points.keys() - vectors.keys():
        report.blame("lost", point)
    report.points = len(ledger.points)
    return vectors


def _scroll(client: httpx.Client, collection: str) -> Iterator[dict[str, Any]]:
    offset: PointId | None = None
    while True:
        body = {"limit": PAGE, "with_payload": True, "with_vector": True, "offset": offset}
        answer = client.post(f"/collections/{collection}/points/scroll", json=body).raise_for_status()
        result = answer.json()["result"]
        yield from result["points"]
        offset = result.get("next_page_offset")
        if offset is None:
            return


def _batches(vectors: dict[PointId, Floats], sample: int) -> Iterator[list[PointId]]:
    points = sorted(vectors, key=str)
    random.Random(0).shuffle(points)
    chosen = points[:sample]
    for start in range(0, len(chosen), BATCH):
        yield chosen[start : start + BATCH]


def _text_of(held: Held, encoder: Encoder) -> str:
    return held.vector_of if held.encoder == encoder.key else str(held.payload["text"])


def _equal(found: Floats, expected: Floats, tolerance: float, *, directions: bool) -> bool:
    if found.shape != expected.shape:
        return False
    length = np.linalg.norm(expected)
    divisor = np.linalg.norm(found) if directions else length
    return bool(divisor > 0 and np.abs(found / divisor - expected / length).max() <= tolerance)
