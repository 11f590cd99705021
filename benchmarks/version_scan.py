"""How fast the versions of all points are read when nothing has changed: the feed beside what it replaces.

    python -m benchmarks.version_scan [--sizes 10000,100000] [--dimensions 64] [--uuids] [--shards 1] [--repeat 3]

For each size, in one run: a scan by pages (all ids, then the nearest vectors of each page, into a dict), and the
feed, into sorted columns, with one stream and with several, by several numbers of slices. Ratios are to the pages.
`cpu` is the client's; on one machine the server needs the same cores, so its rates grow with the cores it has.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Annotated
from uuid import UUID, uuid5

import typer

from benchmarks.engine import collection, described, engine
from devkit.corpus import synthetic
from teal.domain.observed import CollectionState, Version
from teal.qdrant import wire
from teal.qdrant.admin import Admin
from teal.qdrant.affinity import new_token
from teal.qdrant.feed import Feed
from teal.qdrant.points import Points, Probe
from teal.qdrant.wire import Point

STREAMS = 4
LOAD_BATCH = 1000
NAMESPACE = UUID(int=7)
Read = Callable[[], Awaitable[int]]


@dataclass(frozen=True)
class Result:
    """The best of the repeats: points a second, microseconds of client CPU a point, and the ratio to the pages."""

    what: str
    points: int
    points_per_second: int
    cpu_micros: float
    ratio: float


async def load(points: Points, name: str, count: int, dimensions: int, *, uuids: bool) -> None:
    """Points without payload, whose vectors repeat: neither is read by a scan."""
    vectors = wire.dense_vectors(synthetic(LOAD_BATCH, dimensions))
    for start in range(0, count, LOAD_BATCH):
        numbers = range(start, min(start + LOAD_BATCH, count))
        ids = [uuid5(NAMESPACE, str(number)) if uuids else number for number in numbers]
        batch = [Point(wire.raw_id(each), [], vectors[row]) for row, each in enumerate(ids)]
        await points.upsert(name, batch, wait=numbers.stop == count)


def ways(points: Points, state: CollectionState, version: Version, slices: list[int]) -> dict[str, Read]:
    """Each way to read all versions, by what it is."""
    pinned = points.pinned(new_token())

    async def pages() -> int:
        seen: dict[bytes, int] = {}
        async for page in points.scan(state.name, Probe.of(state.schema)):
            seen |= page
        return len(seen)

    def feed(streams: int, total: int | None) -> Read:
        async def read() -> int:
            source = Feed(pinned, state, version, streams=streams)
            return sum([len(part.points.keys) async for part in source.scan(total)])

        return read

    def ranges(streams: int) -> Read:
        """As for a server before slices."""

        async def read() -> int:
            source = Feed(pinned, state, Version(1, 18), streams=streams)
            return sum([len(part.points.keys) async for part in source.scan()])

        return read

    return {
        "pages, nearest": pages,
        f"feed by ranges, {STREAMS} streams": ranges(STREAMS),
        "feed, 1 stream": feed(1, None),
        f"feed, {STREAMS} streams": feed(STREAMS, None),
        **{f"feed, {STREAMS} streams, {total} slices": feed(STREAMS, total) for total in slices},
    }


async def measure(read: Read, expected: int, repeat: int) -> tuple[float, float]:
    """The least seconds of wall time and of client CPU."""
    wall, cpu = float("inf"), float("inf")
    for _ in range(repeat):
        began, used = time.perf_counter(), time.process_time()
        found = await read()
        wall, cpu = min(wall, time.perf_counter() - began), min(cpu, time.process_time() - used)
        if found != expected:
            raise RuntimeError(f"{found} of {expected} points read")
    return wall, cpu


async def run(
    sizes: list[int], dimensions: int, repeat: int, shards: int, slices: list[int], *, uuids: bool
) -> None:
    results: list[Result] = []
    with engine() as found:
        async with Admin(found.endpoint) as admin, Points(found.endpoint) as points:
            version = await admin.version()
            for size in sizes:
                async with collection(admin, dimensions, shards) as name:
                    await load(points, name, size, dimensions, uuids=uuids)
                    state = await admin.collection(name)
                    assert state is not None
                    base = None
                    for what, read in ways(points, state, version, slices).items():
                        wall, cpu = await measure(read, size, repeat)
                        base = base or wall
                        rate, micros = round(size / wall), round(cpu / size * 1e6, 2)
                        results.append(Result(what, size, rate, micros, round(base / wall, 2)))
                        show(results[-1])
        about = described(found, dimensions=dimensions, shards=shards)
    print(json.dumps({**about, "version": str(version), "uuids": uuids, "results": [asdict(r) for r in results]}))


def show(result: Result) -> None:
    print(
        f"{result.points:>9} points  {result.what:<34}{result.points_per_second:>9} points/s"
        f"{result.cpu_micros:>7.2f} us client CPU a point{result.ratio:>7.2f} x",
        flush=True,
    )


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def main(
    sizes: Annotated[str, typer.Option(help="How many points, by commas.")] = "10000,100000",
    dimensions: Annotated[int, typer.Option(min=1)] = 64,
    shards: Annotated[int, typer.Option(min=1)] = 1,
    slices: Annotated[str, typer.Option(help="Numbers of slices to try, by commas.")] = "",
    repeat: Annotated[int, typer.Option(min=1)] = 3,
    uuids: Annotated[bool, typer.Option(help="UUIDs as ids, not numbers.")] = False,  # noqa: FBT002
) -> None:
    asyncio.run(run(numbers(sizes), dimensions, repeat, shards, numbers(slices), uuids=uuids))


if __name__ == "__main__":
    typer.run(main)
