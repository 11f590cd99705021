"""What copying a collection costs the client: bytes passed through, compared with qdrant-client's models.

python -m benchmarks.copy_rate [--points 20000] [--dimensions 768] [--batch 500] [--repeat 1]

Each copy reads every point of one collection (vectors and payload) and writes it to a new one that is not
indexed. "client CPU" is only this process, in seconds for 100,000 points.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from qdrant_client import AsyncQdrantClient, models

from benchmarks.engine import collection, described, engine, fill
from teal.qdrant.admin import Admin
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.points import Points

Copy = Callable[[str, str], Awaitable[int]]


@dataclass(frozen=True)
class Result:
    """One way of copying: points per second of wall time, client CPU seconds for 100,000 points."""

    way: str
    points: int
    points_per_second: int
    client_cpu_per_100k: float


async def measure(way: str, copy: Copy, admin: Admin, source: str, dimensions: int) -> Result:
    async with collection(admin, dimensions) as target:
        wall, cpu = time.perf_counter(), time.process_time()
        copied = await copy(source, target)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        found = await admin.count(target)
        if copied != found:
            raise RuntimeError(f"{way}: {copied} points copied, {found} found")
    return Result(way, copied, round(copied / wall), round(cpu / copied * 100_000, 2))


def pass_through(endpoint: Endpoint, streams: int, batch: int) -> Copy:
    """Teal's way: ids, then fetch → upsert of undecoded points, `streams` at a time."""

    async def copy(source: str, target: str) -> int:
        async with Points(endpoint, streams=streams) as points:
            ids = [raw async for page in points.ids(source) for raw in page]
            starts = iter(range(0, len(ids), batch))

            async def worker() -> None:
                for start in starts:
                    await points.upsert(target, await points.fetch(source, ids[start : start + batch]))

            await asyncio.gather(*(worker() for _ in range(streams)))
            return len(ids)

    return copy


def client_models(endpoint: Endpoint, batch: int, *, prefer_grpc: bool) -> Copy:
    """The client library's way: scroll → upsert of pydantic models, one stream."""

    async def copy(source: str, target: str) -> int:
        client = AsyncQdrantClient(
            url=endpoint.url,
            grpc_port=endpoint.grpc_port,
            api_key=endpoint.api_key,
            prefer_grpc=prefer_grpc,
            timeout=60,
            check_compatibility=False,
        )
        copied, offset = 0, None
        try:
            while True:
                found, offset = await client.scroll(source, limit=batch, offset=offset, with_vectors=True)
                structs = [models.PointStruct(id=p.id, vector=p.vector, payload=p.payload) for p in found]  # type: ignore[arg-type]
                await client.upsert(target, structs, wait=True)
                copied += len(found)
                if offset is None:
                    return copied
        finally:
            await client.close()

    return copy


async def run(count: int, dimensions: int, batch: int, repeat: int) -> None:
    with engine() as found:
        ways: dict[str, Copy] = {
            f"bytes passed through, {streams} stream(s)": pass_through(found.endpoint, streams, batch)
            for streams in (1, 2, 4)
        }
        ways["client models over gRPC"] = client_models(found.endpoint, batch, prefer_grpc=True)
        ways["client models over REST"] = client_models(found.endpoint, batch, prefer_grpc=False)
        results = []
        async with (
            Admin(found.endpoint) as admin,
            Points(found.endpoint) as points,
            collection(admin, dimensions) as source,
        ):
            await fill(points, source, count, dimensions)
            for _ in range(repeat):
                for way, copy in ways.items():
                    results.append(await measure(way, copy, admin, source, dimensions))
                    print(
                        f"{way:<34}{results[-1].points_per_second:>8} points/s"
                        f"{results[-1].client_cpu_per_100k:>8.2f} s client CPU per 100,000"
                    )
        best = min(r.client_cpu_per_100k for r in results if "passed" in r.way)
        summary = {
            **described(found, dimensions=dimensions, batch=batch),
            "results": [asdict(result) for result in results],
            "cpu_ratio_to_grpc_models": ratio(results, "over gRPC", best),
            "cpu_ratio_to_rest_models": ratio(results, "over REST", best),
        }
        print(json.dumps(summary))


def ratio(results: list[Result], way: str, best: float) -> float:
    """How many times the client CPU of `way` is that of the best pass-through."""
    return round(min(r.client_cpu_per_100k for r in results if way in r.way) / best, 1)


def main(
    points: Annotated[int, typer.Option(min=1000, help="Points to copy.")] = 20_000,
    dimensions: Annotated[int, typer.Option(min=1)] = 768,
    batch: Annotated[int, typer.Option(min=1, help="Points in one request.")] = 500,
    repeat: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    asyncio.run(run(points, dimensions, batch, repeat))


if __name__ == "__main__":
    typer.run(main)
