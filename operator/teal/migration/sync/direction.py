"""One way between two live collections: points go over while the application writes to both.

What is known of both sides afterwards is what the next comparison starts from, so it must never be ahead of what
is there: a point counts as in step only if it was found as it was written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from teal.domain.ledger import RawId
from teal.domain.observed import CollectionState
from teal.migration.context import Context
from teal.migration.copying import conditional_writes
from teal.migration.copying.transform import AsManyAsPossible, LeftBehind, Transform
from teal.qdrant import wire
from teal.qdrant.wire import RawPoint


@dataclass
class Direction:
    """From one side to the other: the versions known of both, those at which the target's points were seen, what
    could not be carried, and how it is made."""

    source: CollectionState
    target: CollectionState
    known_source: dict[RawId, int]
    known_target: dict[RawId, int]
    seen_target: Mapping[RawId, int]
    left: dict[RawId, int]
    make: Transform | None

    async def carry(self, ctx: Context, batch: dict[RawId, int]) -> tuple[int, str | None]:
        """Write points of one side to the other; how many were, and why others could not be.

        What the application touches meanwhile, on either side, is left to the next round. What cannot be made is
        not known to be in step, or it would be taken for deleted where it is missing; it is tried again when it
        changes. What was deleted since the scan is known, so that whoever looks next sees it go, be it a pass
        that has only this.
        """
        told = LeftBehind()
        points: Sequence[RawPoint] = ()
        there = set(batch)
        if self.make is None:
            told.because = f"the encoder of {self.target.name} cannot be asked"
        else:
            found = await ctx.server.points.fetch(self.source.name, list(batch))
            there = {point.id for point in found}
            points = await AsManyAsPossible(told, self.make)(found)
            batch = batch | wire.as_read(found, batch)
        put = await conditional_writes.write(ctx.server.points, self.target, points, self.seen_target)
        self.known_source.update({point: batch[point] for point in put.written})
        self.known_target.update(put.settled)
        self.known_source.update({point: version for point, version in batch.items() if point not in there})
        done = {point.id for point in points}
        left = {point: batch[point] for point in there if point not in done}
        self.left.update(left)
        return len(put.written), (told.because or "some points have no text to embed") if left else None
