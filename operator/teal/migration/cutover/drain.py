"""Draining: late writes, which reached the old side during the cut-over, are copied to the new side, except to
points that the application has changed there since.
"""

from __future__ import annotations

from teal.domain.observed import CollectionState
from teal.domain.writes import WriteMode
from teal.migration.context import Context
from teal.migration.copying import conditional_writes
from teal.migration.copying.memory import CopyMemory
from teal.migration.copying.scan import versions_of
from teal.migration.copying.transform import transform_for
from teal.migration.cutover.memory import CutoverMemory
from teal.qdrant import wire
from teal.qdrant.collection import Quiescence

DRAINS = 20


async def drained(
    ctx: Context,
    state: CutoverMemory,
    old: CollectionState,
    new: CollectionState,
    rest: Quiescence | None,
    after: Quiescence | None,
) -> int:
    """Drain until the old side is at rest; how many writes came late. Nothing to do where none can have come."""
    if rest and after and rest.same_as(after):
        return 0
    if ctx.writes is WriteMode.DUAL_WRITE:
        await _note_both_sides(ctx, state, old)
        return 0
    late = 0
    for _ in range(DRAINS):
        late += await _drain(ctx, state, old, new)
        now = await ctx.server.admin.quiescence(old.name)
        if now is None or (after is not None and now.same_as(after)):
            break
        after = now
    return late


async def _note_both_sides(ctx: Context, state: CutoverMemory, old: CollectionState) -> None:
    """What the application wrote to both since the last pass is in step, however a rollback may look at it."""
    ledger, seen = ctx.session.part(CopyMemory).the_ledger, await versions_of(ctx, old)
    ledger.record(ledger.changed(seen))
    ledger.forget([point for point in ledger.versions if point not in seen])
    state.drained = True


async def _drain(ctx: Context, state: CutoverMemory, old: CollectionState, new: CollectionState) -> int:
    """Carry over what reached the old side too late, unless the application has touched the point since."""
    ledger, seen = ctx.session.part(CopyMemory).the_ledger, await versions_of(ctx, old)
    moved = ledger.changed(seen)
    gone = [p for p in ledger.versions if p not in seen]
    if not moved and not gone:
        return 0
    state.drained = True
    known = state.new_side if state.new_side is not None else {}
    found = await ctx.server.points.fetch(old.name, list(moved))
    points = await transform_for(ctx)(found)
    read = wire.as_read(found, moved)
    put = await conditional_writes.write(ctx.server.points, new, points, known)
    known.update(put.settled)
    # Where the new side was touched it has won: that is as settled as what is carried over.
    ledger.record({point.id: read[point.id] for point in points})
    vanished = await conditional_writes.delete(ctx.server.points, new, gone, known)
    for point in vanished:
        known.pop(point, None)
    ledger.forget(gone)
    return len(put.written) + len(vanished)
