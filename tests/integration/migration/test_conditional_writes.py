"""Writing to a collection that an application writes to as well, the moment between look and write included."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from teal.domain.observed import CollectionState
from teal.migration.copying import conditional_writes
from teal.qdrant import wire
from teal.qdrant.admin import Admin
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.points import Points, Probe
from teal.qdrant.wire import Point, RawId
from tests.plugins.qdrant import Qdrant

THREE = [wire.raw_id(point) for point in (1, 2, 3)]


class Watched(Points):
    """`between` happens once, right after versions were asked for."""

    between: Callable[[], Awaitable[None]] | None = None

    async def versions(self, collection: str, ids: Sequence[RawId], probe: Probe | None) -> dict[RawId, int]:
        found = await super().versions(collection, ids, probe)
        happens, self.between = self.between, None
        if happens:
            await happens()
        return found


@pytest.fixture
async def points(qdrant: Qdrant) -> AsyncIterator[Watched]:
    async with Watched(Endpoint(qdrant.url, qdrant.grpc_port, qdrant.api_key)) as points:
        yield points


@pytest.fixture
async def live(points: Watched, prefix: str) -> CollectionState:
    """A collection with the points 1 and 2."""
    async with Admin(points.endpoint) as admin:
        await admin.create(f"{prefix}live", {"vectors": {"size": 2, "distance": "Dot"}})
        await points.upsert(f"{prefix}live", made(1, 2))
        found = await admin.collection(f"{prefix}live")
    assert found is not None
    return found


def made(*ids: int, value: float = 0.0) -> list[Point]:
    vectors = wire.dense_vectors([[value, point] for point in ids])
    return [Point(wire.raw_id(point), [], row) for point, row in zip(ids, vectors, strict=True)]


async def held(points: Points, live: CollectionState) -> dict[int, float]:
    """The first element of each point's vector."""
    found = {}
    for point in await points.fetch(live.name, THREE):
        row = wire.read_dense(point.vectors, "")
        assert row is not None
        found[int(wire.plain_id(point.id))] = float(row[0])
    return found


async def known(points: Points, live: CollectionState) -> dict[RawId, int]:
    return await points.versions(live.name, THREE, Probe.of(live.schema))


async def test_what_nobody_touched_is_written_and_settled(points: Watched, live: CollectionState) -> None:
    put = await conditional_writes.write(points, live, made(1, 2, 3, value=7), await known(points, live))
    assert await held(points, live) == {1: 7, 2: 7, 3: 7}
    assert put.written == set(THREE)
    assert put.settled == await known(points, live)


async def test_what_was_touched_before_is_left_alone(points: Watched, live: CollectionState) -> None:
    before = await known(points, live)
    await points.upsert(live.name, made(1, 3, value=5))
    put = await conditional_writes.write(points, live, made(1, 2, 3, value=7), before)
    assert await held(points, live) == {1: 5, 2: 7, 3: 5}
    assert put.written == set(put.settled) == {wire.raw_id(2)}


async def test_in_the_moment_between_an_insert_stays_and_a_delete_too(
    points: Watched, live: CollectionState
) -> None:
    before = await known(points, live)

    async def application() -> None:
        await points.upsert(live.name, made(3, value=5))
        await points.delete(live.name, [wire.raw_id(1)])

    points.between = application
    put = await conditional_writes.write(points, live, made(1, 2, 3, value=7), before)
    assert await held(points, live) == {2: 7, 3: 5}
    assert set(put.settled) == {wire.raw_id(2)}


async def test_what_was_touched_right_after_is_not_settled(points: Watched, live: CollectionState) -> None:
    before = await known(points, live)
    once = points.upsert

    async def then_the_application(name: str, given: Sequence[Point], **options: object) -> None:
        points.upsert = once  # type: ignore[method-assign]
        await once(name, given, **options)  # type: ignore[arg-type]
        await once(name, made(1, value=5))

    points.upsert = then_the_application  # type: ignore[assignment,method-assign]
    put = await conditional_writes.write(points, live, made(1, 2, value=7), before)
    assert await held(points, live) == {1: 5, 2: 7}
    assert set(put.settled) == {wire.raw_id(2)}


async def test_deletes_spare_what_was_touched(points: Watched, live: CollectionState) -> None:
    before = await known(points, live)
    await points.upsert(live.name, made(1, value=5))
    gone = await conditional_writes.delete(points, live, THREE, before)
    assert await held(points, live) == {1: 5}
    assert gone == THREE[1:], "what is not there any more is as good as deleted"


async def test_more_than_a_batch(points: Watched, live: CollectionState) -> None:
    many = range(10, 10 + 2 * conditional_writes.BATCH)
    put = await conditional_writes.write(points, live, made(*many), {})
    assert len(put.written) == len(put.settled) == len(many)
    await conditional_writes.delete(points, live, list(put.settled), put.settled)
    assert await points.count(live.name) == 2
