"""Compare-and-set, as far as Qdrant allows it: write a point only if the application has not changed it since.

Qdrant cannot compare a version and write in one step, so the version is read right before the write, in small
batches. In the time between the two requests an update by the application may be overwritten, but neither an
insert nor a delete is undone: a point that was missing is only inserted, one that was there only updated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from teal.domain.ledger import RawId
from teal.domain.observed import CollectionState
from teal.migration.copying.equality import same
from teal.qdrant.points import Points, Probe
from teal.qdrant.wire import RawPoint

BATCH = 100


@dataclass
class Put:
    """The points that were written, and the versions of those that were then read back as they were written."""

    written: set[RawId] = field(default_factory=set)
    settled: dict[RawId, int] = field(default_factory=dict)


async def write(
    points: Points, target: CollectionState, made: Sequence[RawPoint], known: Mapping[RawId, int]
) -> Put:
    """Write those of `made` that are at their `known` version, or missing if they have none."""
    put = Put()
    for start in range(0, len(made), BATCH):
        await _write(points, target, made[start : start + BATCH], known, put)
    return put


async def _write(
    points: Points, target: CollectionState, made: Sequence[RawPoint], known: Mapping[RawId, int], put: Put
) -> None:
    ids, probe = [point.id for point in made], Probe.of(target.schema)
    before = await points.versions(target.name, ids, probe)
    meant = {point.id: point for point in made if before.get(point.id) == known.get(point.id)}
    fresh = [point for point in meant.values() if point.id not in before]
    older = [point for point in meant.values() if point.id in before]
    if fresh:
        await points.upsert(target.name, fresh, only="insert")
    if older:
        await points.upsert(target.name, older, only="update")
    if not meant:
        return
    put.written.update(meant)
    # The version is read first: a write in between makes the point look changed, never settled.
    after = await points.versions(target.name, list(meant), probe)
    for point in await points.fetch(target.name, list(after)):
        if same(meant[point.id], point, target):
            put.settled[point.id] = after[point.id]


async def delete(
    points: Points, target: CollectionState, ids: Sequence[RawId], known: Mapping[RawId, int]
) -> list[RawId]:
    """Delete those of `ids` that are at their `known` version; returns them."""
    done: list[RawId] = []
    for start in range(0, len(ids), BATCH):
        page = ids[start : start + BATCH]
        there = await points.versions(target.name, page, Probe.of(target.schema))
        unmoved = [point for point in page if there.get(point) == known.get(point)]
        here = [point for point in unmoved if point in there]
        if here:
            await points.delete(target.name, here)
        done += unmoved
    return done
