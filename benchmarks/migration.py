"""How long a user waits: from `kubectl apply` to the first step, for a whole migration, and at the cut-over.

python -m benchmarks.migration [--points 20000] [--dimensions 384] [--rounds 3]

A real control plane and operator; Qdrant by QDRANT_URL, else the embedded one. Each round changes the distance
back and forth under one writer that never pauses, so every cut-over needs the fence.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
import uuid
from pathlib import Path
from typing import Any

import httpx

from benchmarks.engine import described, engine
from devkit.clients import Clients, Workload
from devkit.clients.ledger import Ledger
from devkit.cluster import Cluster
from devkit.control_plane import ControlPlane
from devkit.corpus import sample, synthetic
from devkit.teal import operator
from teal.qdrant import wire
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.points import Points
from teal.qdrant.wire import Point

CRDS = Path(__file__).resolve().parents[1] / "crds"
DISTANCES = ("Cosine", "Euclid")
POLL_SECONDS = 0.01


def manifest(
    name: str, namespace: str, endpoint: Endpoint, size: int, distance: str, version: int
) -> dict[str, Any]:
    return {
        "apiVersion": "teal.dev/v1alpha1",
        "kind": "VectorCollection",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "qdrant": {"url": endpoint.url, "grpcPort": endpoint.grpc_port},
            "dimensions": size,
            "distance": distance,
            "schemaVersion": f"v{version}",
            "migration": {
                "allowNormalized": True,
                "throttle": {"maxReadLatencyMillis": 10000},
                "promotion": {"quietWait": "0s"},
            },
            "watch": {"duration": "0s"},
            "retention": {"keepFor": "0s", "snapshot": False},
        },
    }


def wait(cluster: Cluster, name: str, seen: Any) -> tuple[float, dict[str, Any]]:
    """Wait for a status; returns when it came, and the status."""
    while True:
        found = cluster.get("VectorCollection", name)
        status = found.get("status") or {}
        if status.get("observedGeneration") == found["metadata"]["generation"] and seen(status):
            return time.monotonic(), status
        time.sleep(POLL_SECONDS)


async def fill(endpoint: Endpoint, alias: str, points: int, dimensions: int) -> None:
    async with Points(endpoint) as qdrant:
        for start in range(0, points, 1000):
            rows = synthetic(min(1000, points - start), dimensions, seed=start)
            vectors = wire.dense_vectors(rows)
            batch = [Point(wire.raw_id(10**6 + start + i), (), vector) for i, vector in enumerate(vectors)]
            await qdrant.upsert(alias, batch)


def run(points: int, dimensions: int, rounds: int) -> dict[str, Any]:
    name = f"bench-{uuid.uuid4().hex[:6]}"
    first_step, whole, alias_millis, fence_millis, stall = [], [], [], [], 0.0
    with engine() as found, ControlPlane.start(CRDS) as plane, plane.api_client() as api:
        cluster = Cluster(plane.kubeconfig, api, f"teal-bench-{uuid.uuid4().hex[:6]}")
        cluster.create_namespace()
        with operator(plane.kubeconfig, "-n", cluster.namespace):

            def apply(version: int) -> float:
                wanted = DISTANCES[version % 2]
                cluster.apply([manifest(name, cluster.namespace, found.endpoint, dimensions, wanted, version)])
                return time.monotonic()

            apply(0)
            wait(cluster, name, lambda status: status.get("phase") == "Ready")
            asyncio.run(fill(found.endpoint, name, points, dimensions))
            workload = Workload(
                url=found.endpoint.url, alias=name, entries=sample(50), readers=1, writers=1,
                writes_per_second=100,
                api_key=found.endpoint.api_key,
            )  # fmt: skip
            for version in range(1, rounds + 1):
                with Clients.start(workload, Ledger()) as clients:
                    began = apply(version)
                    at, _ = wait(cluster, name, lambda status: "migration" in status or status["phase"] != "Ready")
                    first_step.append(at - began)
                    at, status = wait(cluster, name, lambda status: status.get("phase") == "Ready")
                    whole.append(at - began)
                    counts = clients.stop()
                cutover = status["migration"]["writes"]["cutOver"]
                alias_millis.append(cutover["aliasMillis"])
                fence_millis.append(cutover["fenceMillis"])
                stall = max(stall, counts.longest_stall_millis)
            with httpx.Client(base_url=found.endpoint.url) as http:
                for each in http.get("/collections").json()["result"]["collections"]:
                    if each["name"].startswith(f"{name}-"):
                        http.delete(f"/collections/{each['name']}")
        return described(found, points=points, dimensions=dimensions, rounds=rounds) | {
            "applyToFirstStepSeconds": round(statistics.median(first_step), 3),
            "migrationSeconds": round(statistics.median(whole), 2),
            "pointsPerSecondEndToEnd": round(points / statistics.median(whole)),
            "aliasMillis": statistics.median(alias_millis),
            "fenceMillis": statistics.median(fence_millis),
            "longestWriterStallMillis": round(stall, 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=20000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print(json.dumps(run(given.points, given.dimensions, given.rounds), indent=2))


if __name__ == "__main__":
    main()
