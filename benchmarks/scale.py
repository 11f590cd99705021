"""What a migration costs as collections grow: memory of Teal, length of a pass, how long the fence holds writers.

    python -m benchmarks.scale [--points 10000 100000] [--ids numbers|uuids] [--writers 2] [--beside CHECKOUT]

A collection of small vectors is filled, then `teal apply` changes its distance while writers go on through the
alias, and then changes it back, which is a rollback. A third `teal apply` has nothing to change: it is another
process that compares both live collections. Each is a process of its own, whose resident memory is sampled: `peak`
is the most that it had above what `teal apply` has that finds an empty collection as declared.

`beside`: another checkout of Teal whose `teal apply` does the same, in the same run. Qdrant by QDRANT_URL, else
the embedded one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import numpy as np
import yaml

from benchmarks.engine import Engine, described, engine
from teal.qdrant import wire
from teal.qdrant.points import Points
from teal.qdrant.wire import Point

SIZE = 16
BATCH = 2_000
SAMPLE_SECONDS = 0.02
MIB = 1 << 20
ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 3 * 3600.0

Json = dict[str, Any]


def manifest(alias: str, found: Engine, distance: str) -> Json:
    """The same schema version each time: what is measured is a migration, not a new name."""
    return {
        "apiVersion": "teal.dev/v1alpha1",
        "kind": "VectorCollection",
        "metadata": {"name": alias, "namespace": "benchmarks"},
        "spec": {
            "alias": alias,
            "qdrant": {"url": found.endpoint.url, "grpcPort": found.endpoint.grpc_port},
            "dimensions": SIZE,
            "distance": distance,
            "migration": {
                "allowNormalized": True,
                "throttle": {"maxReadLatencyMillis": 10_000},
                "promotion": {"quietWait": "10s", "maxFence": "60s"},
            },
            "watch": {"duration": "0s"},
        },
    }


@dataclass
class Run:
    """One `teal apply`: how long it took, and the most memory that it had resident, in bytes."""

    seconds: float = 0.0
    resident: int = 0
    status: Json = field(default_factory=dict)


def apply(checkout: Path, text: Json) -> Run:
    """`teal apply` of another checkout is another process with its own sources and the same libraries.

    Raises:
        RuntimeError: it did not end well.
    """
    run = Run()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "collection.yaml"
        path.write_text(yaml.safe_dump(text))
        command = [sys.executable, "-m", "teal.cli.main", "apply", "-f", str(path), "-o", "json", "--watch"]
        began = time.monotonic()
        paths = os.pathsep.join([str(checkout / "operator"), str(checkout)])
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths},
            text=True,
        ) as process:
            done = threading.Event()
            sampler = threading.Thread(target=_sample, args=(process.pid, run, done))
            sampler.start()
            out, errors = process.communicate(timeout=PATIENCE)
            done.set()
            sampler.join()
    run.seconds = time.monotonic() - began
    if process.returncode:
        raise RuntimeError(errors[-2000:])
    (run.status,) = json.loads(out).values()
    return run


def _sample(pid: int, run: Run, done: threading.Event) -> None:
    while not done.wait(SAMPLE_SECONDS):
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError, IndexError):
            return
        run.resident = max(run.resident, pages * os.sysconf("SC_PAGE_SIZE"))


class Writers:
    """Threads that change points through the alias, each one waiting for its answer."""

    def __init__(self, found: Engine, alias: str, ids: list[Any], count: int) -> None:
        self._found, self._alias, self._ids = found, alias, ids
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(n,)) for n in range(count)]
        self.acknowledged = 0
        self.longest_stall = 0.0

    @contextmanager
    def at_work(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def _work(self, number: int) -> None:
        chance, last = random.Random(number), time.monotonic()
        with httpx.Client(base_url=self._found.endpoint.url, timeout=60.0) as client:
            while not self._stop.is_set():
                vector = [chance.uniform(-1, 1) for _ in range(SIZE)]
                point = {"id": chance.choice(self._ids), "vector": vector, "payload": {"n": self.acknowledged}}
                answer = client.put(f"/collections/{self._alias}/points?wait=true", json={"points": [point]})
                if answer.is_success:
                    now = time.monotonic()
                    self.longest_stall, last = max(self.longest_stall, now - last), now
                    self.acknowledged += 1
                time.sleep(0.005)


async def fill(found: Engine, collection: str, ids: list[Any]) -> None:
    """Points with small vectors and a small payload."""
    async with Points(found.endpoint) as points:
        for start in range(0, len(ids), BATCH):
            some = ids[start : start + BATCH]
            vectors = np.random.default_rng(start).normal(size=(len(some), SIZE)).astype(np.float32)
            rows = wire.dense_vectors(list(vectors))
            batch = [Point(wire.raw_id(each), (), row) for each, row in zip(some, rows, strict=True)]
            await points.upsert(collection, batch, wait=start + BATCH >= len(ids))


def measured(found: Engine, checkout: Path, count: int, kind: str, writers: int) -> Iterator[Json]:
    """One row for each `teal apply`."""
    alias = f"bench-{uuid4().hex[:8]}"
    chance = random.Random(1)
    ids = [*range(count)] if kind == "numbers" else [str(UUID(int=chance.getrandbits(128))) for _ in range(count)]
    root = found.endpoint.url
    try:
        apply(checkout, manifest(alias, found, "Cosine"))
        start = apply(checkout, manifest(alias, found, "Cosine")).resident
        asyncio.run(fill(found, _serving(root, alias), ids))
        steps = {"there": "Euclid", "back": "Cosine", "again": "Cosine"}
        for name, distance in steps.items():
            at_work = Writers(found, alias, ids[: min(count, 100_000)], writers)
            with at_work.at_work():
                run = apply(checkout, manifest(alias, found, distance))
            writes = (run.status.get("migration") or {}).get("writes") or {}
            cut_over = writes.get("cutOver") or writes.get("switch") or {}
            yield {
                "points": count,
                "ids": kind,
                "step": name,
                "seconds": round(run.seconds, 1),
                "peak MiB": round((run.resident - start) / MIB),
                "fence ms": cut_over.get("fenceMillis"),
                "longest stall ms": round(at_work.longest_stall * 1000),
                "writes": at_work.acknowledged,
                "proof": writes.get("proof"),
            }
    finally:
        names = [each["name"] for each in httpx.get(f"{root}/collections").json()["result"]["collections"]]
        for name in names:
            if name.startswith(alias):
                httpx.delete(f"{root}/collections/{name}", timeout=600.0)


def _serving(root: str, alias: str) -> str:
    aliases = httpx.get(f"{root}/aliases").json()["result"]["aliases"]
    return next(str(each["collection_name"]) for each in aliases if each["alias_name"] == alias)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--ids", choices=["numbers", "uuids"], default="numbers")
    parser.add_argument("--writers", type=int, default=2)
    parser.add_argument("--beside", type=Path, help="another checkout, measured in the same run")
    given = parser.parse_args()
    checkouts = {"this": ROOT, **({"beside": given.beside.resolve()} if given.beside else {})}
    with engine() as found:
        version = httpx.get(found.endpoint.url).json().get("version")
        print(json.dumps(described(found, writers=given.writers) | {"version": version}), flush=True)
        for count in given.points:
            for name, checkout in checkouts.items():
                for row in measured(found, checkout, count, given.ids, given.writers):
                    print(json.dumps({"teal": name, **row}), flush=True)


if __name__ == "__main__":
    main()
