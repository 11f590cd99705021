"""The Qdrant of a benchmark, filled with points; the output says which kind of server it was.

QDRANT_URL, QDRANT_GRPC_PORT (6334), QDRANT_API_KEY     a real server; without them the embedded one

Rates of the embedded server are those of its Python front, so compare only figures of one run.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from uuid import uuid4

from qdrant_client import grpc as qdrant
from qdrant_client.conversions.conversion import payload_to_grpc

from devkit.corpus import synthetic
from devkit.qdrant import EmbeddedQdrant
from teal.qdrant import wire
from teal.qdrant.admin import Admin
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.points import Points
from teal.qdrant.wire import Point

PAYLOAD_TEXT = 150
LOAD_BATCH = 500


@dataclass(frozen=True)
class Engine:
    """Where it is, and what: `embedded` or `real`."""

    endpoint: Endpoint
    kind: str


@contextmanager
def engine() -> Iterator[Engine]:
    """The server of `QDRANT_URL`, else an embedded one that is stopped afterwards."""
    if url := os.environ.get("QDRANT_URL"):
        port = int(os.environ.get("QDRANT_GRPC_PORT", "6334"))
        yield Engine(Endpoint(url, port, os.environ.get("QDRANT_API_KEY")), "real")
        return
    with EmbeddedQdrant.start() as server:
        yield Engine(Endpoint(server.url, server.grpc_port), "embedded")


def described(found: Engine, **sizes: int) -> dict[str, object]:
    """The conditions of a measurement: the cores of the machine, the kind of engine, the sizes."""
    return {"cores": os.cpu_count(), "engine": found.kind, **sizes}


@asynccontextmanager
async def collection(admin: Admin, dimensions: int, shards: int = 1) -> AsyncIterator[str]:
    """A new collection that is never indexed, deleted afterwards."""
    name = f"bench-{uuid4().hex[:8]}"
    vectors = {"size": dimensions, "distance": "Cosine"}
    optimizers = {"indexing_threshold": 0}
    await admin.create(name, {"vectors": vectors, "shard_number": shards, "optimizers_config": optimizers})
    try:
        yield name
    finally:
        await admin.delete(name)


async def fill(points: Points, name: str, count: int, dimensions: int) -> None:
    """Put `count` points with payloads of about 200 bytes into a collection."""
    for start in range(0, count, LOAD_BATCH):
        size = min(LOAD_BATCH, count - start)
        vectors = wire.dense_vectors(synthetic(size, dimensions, seed=start))
        batch = [Point(wire.raw_id(start + i), payload(start + i), vectors[i]) for i in range(size)]
        await points.upsert(name, batch)


def payload(number: int) -> list[bytes]:
    """Serialized payload entries of about 200 bytes: a text, a tenant, a number and a flag."""
    fields = {
        "text": (f"text {number} " * PAYLOAD_TEXT)[:PAYLOAD_TEXT],
        "tenant": f"tenant-{number % 7}",
        "revision": number,
        "published": number % 2 == 0,
    }
    encoded = qdrant.RetrievedPoint(payload=payload_to_grpc(fields)).SerializeToString()
    return list(wire.RetrievedPoint.FromString(encoded).payload)
