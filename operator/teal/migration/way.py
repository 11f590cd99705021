"""One way between two live collections: points go over while the application writes to both.

What is known of both sides afterwards is what the next comparison starts from, so it must never be ahead of what
is there: a point counts as in step only if it was found as it was written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from teal.domain.ledger import RawId
from teal.domain.observed import CollectionState
from teal.migration.transform import AsManyAsPossible, Transform
from teal.migration.work import Work, Writes
from teal.qdrant import wire
from teal.qdrant.points import Probe
from teal.qdrant.wire import RawPoint

TOLERANCE = 1e-5


@dataclass
class Way:
    """From one side to the other: the versions known of both, what could not be carried, and how it is made."""

    source: CollectionState
    target: CollectionState
    known_source: dict[RawId, int]
    known_target: dict[RawId, int]
    left: dict[RawId, int]
    make: Transform | None

    async def carry(self, work: Work, batch: dict[RawId, int]) -> tuple[int, str | None]:
        """Write points of one side to the other; how many could be, and why others could not.

        What the application touches meanwhile is found by the next round. What cannot be made is not known to be
        in step, or it would be taken for deleted where it is missing; it is tried again when it changes. What was
        deleted since the scan is known, so that whoever looks next sees it go, be it a pass that has only this.
        """
        told = Writes()
        points: Sequence[RawPoint] = ()
        there = set(batch)
        if self.make is None:
            told.left_because = f"the encoder of {self.target.name} cannot be asked"
        else:
            found = await work.server.points.fetch(self.source.name, list(batch))
            there = {point.id for point in found}
            points = await AsManyAsPossible(told, self.make)(found)
            batch = batch | wire.as_read(found, batch)
        await self._write(work, points, batch)
        self.known_source.update({point: version for point, version in batch.items() if point not in there})
        done = {point.id for point in points}
        left = {point: batch[point] for point in there if point not in done}
        self.left.update(left)
        return len(points), (told.left_because or "some points have no text to embed") if left else None

    async def _write(self, work: Work, points: Sequence[RawPoint], batch: dict[RawId, int]) -> None:
        if not points:
            return
        name = self.target.name
        await work.server.points.upsert(name, points)
        ids = [point.id for point in points]
        now = await work.server.points.versions(name, ids, Probe.of(self.target.schema))
        there = {p.id: p for p in await work.server.points.fetch(name, ids)}
        for point in points:
            self.known_source[point.id] = batch[point.id]
            if point.id in there and point.id in now and same(point, there[point.id], self.target):
                self.known_target[point.id] = now[point.id]


def same(one: RawPoint, other: RawPoint, target: CollectionState | None) -> bool:
    """Equal payloads; with a `target`, its vectors too: dense ones of one direction (Cosine keeps no lengths)."""
    if wire.canonical_payload(one.payload) != wire.canonical_payload(other.payload):
        return False
    if any(
        wire.read_sparse(one.vectors, name) != wire.read_sparse(other.vectors, name)
        for name in (target.schema.sparse if target else ())
    ):
        return False
    return all(
        _same_direction(wire.read_dense(one.vectors, vector.name), wire.read_dense(other.vectors, vector.name))
        for vector in (target.schema.vectors if target else ())
    )


def _same_direction(one: wire.Floats | None, other: wire.Floats | None) -> bool:
    if one is None or other is None:
        return (one is None) == (other is None)
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return lengths == 0 or float(np.dot(one.ravel(), other.ravel())) / lengths > 1 - TOLERANCE
