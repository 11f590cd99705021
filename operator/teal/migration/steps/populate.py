"""Populating: the first pass, from an empty green or from where a crash left it."""

from __future__ import annotations

from teal.domain.transitions import Event
from teal.migration.context import SLICE_SECONDS, Context, Result
from teal.migration.contract import Note
from teal.migration.copying import copy_pass
from teal.migration.copying.forecast import Cost, estimate
from teal.migration.copying.memory import Progress

SHOW_SECONDS = 0.01


async def run(ctx: Context) -> Result:
    """One slice of copying; done when a whole pass is durably on green."""
    if ctx.source is None:
        return Result(Event.POPULATED)
    cost = ctx.session.part(Cost)
    if cost.forecast is None:
        # A restart lost it. It is made and shown again before anything is paid for.
        cost.forecast = await estimate(ctx)
        return Result(requeue_after=SHOW_SECONDS)
    if not await copy_pass.advance(ctx, ctx.clock.monotonic() + SLICE_SECONDS):
        return Result()
    done = ctx.session.part(Progress).total
    note = Note("Populated", f"{done:,} points are on {ctx.subject}.", "Populate")
    return Result(Event.POPULATED, (note,))
