"""How fast the versions of all points are read, by page size: the cost of one pass when nothing has changed.

python -m benchmarks.version_scan [--points 50000] [--dimensions 768] [--repeat 3]

The same run also measures reading the contents (one stream), which a pass without versions would need.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated

import typer

from benchmarks.engine import collection, described, engine, fill
from teal.qdrant.admin import Admin
from teal.qdrant.points import Points, Probe

PAGES = (500, 1000, 2000, 5000, 10_000)


@dataclass(frozen=True)
class Result:
    """Points per second of wall time (the best of the repeats), client CPU seconds for 100,000 points."""

    what: str
    page: int
    points_per_second: int
    client_cpu_per_100k: float


async def measure(what: str, page: int, read: Callable[[], Awaitable[int]], expected: int, repeat: int) -> Result:
    best, cpu = float("inf"), float("inf")
    for _ in range(repeat):
        wall, used = time.perf_counter(), time.process_time()
        found = await read()
        best = min(best, time.perf_counter() - wall)
        cpu = min(cpu, time.process_time() - used)
        if found != expected:
            raise RuntimeError(f"{what}: {found} of {expected} points read")
    return Result(what, page, round(expected / best), round(cpu / expected * 100_000, 2))


async def run(count: int, dimensions: int, repeat: int) -> None:
    with engine() as found:
        results = []
        async with (
            Admin(found.endpoint) as admin,
            Points(found.endpoint) as points,
            collection(admin, dimensions) as name,
        ):
            await fill(points, name, count, dimensions)

            async def scan(page: int) -> int:
                probe = Probe("", dimensions)
                return sum([len(versions) async for versions in points.scan(name, probe, page)])

            async def contents(page: int) -> int:
                return sum([len(await points.fetch(name, ids)) async for ids in points.ids(name, page)])

            for page in PAGES:
                results.append(await measure("versions", page, partial(scan, page), count, repeat))
                show(results[-1])
            results.append(await measure("contents", 500, partial(contents, 500), count, 1))
            show(results[-1])
    fastest = max(r.points_per_second for r in results if r.what == "versions")
    summary = {
        **described(found, points=count, dimensions=dimensions),
        "results": [asdict(result) for result in results],
        "ratio_to_contents": round(fastest / results[-1].points_per_second, 1),
    }
    print(json.dumps(summary))


def show(result: Result) -> None:
    print(
        f"{result.what} by pages of {result.page:<7}{result.points_per_second:>9} points/s"
        f"{result.client_cpu_per_100k:>8.2f} s client CPU per 100,000"
    )


def main(
    points: Annotated[int, typer.Option(min=1000, help="Points to scan.")] = 50_000,
    dimensions: Annotated[int, typer.Option(min=1)] = 768,
    repeat: Annotated[int, typer.Option(min=1)] = 3,
) -> None:
    asyncio.run(run(points, dimensions, repeat))


if __name__ == "__main__":
    typer.run(main)
