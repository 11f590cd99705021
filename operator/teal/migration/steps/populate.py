"""Populating: the first pass, from an empty green or from where a crash left it."""

from __future__ import annotations

from teal.domain.transitions import Event
from teal.migration.context import SLICE_SECONDS, Context, Result
from teal.migration.contract import Note
from teal.migration.copying import copy_pass
from teal.migration.steps.provision import estimate

SHOW_SECONDS = 0.01


async def run(ctx: Context) -> Result:
    """One slice of copying; done when a whole pass is durably on green."""
    if ctx.source is None:
        return Result(Event.POPULATED)
    if ctx.session.forecast is None:
        # Lost with the process that made it; it is shown before anything is paid for, in this one too.
        ctx.session.forecast = await estimate(ctx)
        return Result(requeue_after=SHOW_SECONDS)
    if not await copy_pass.advance(ctx, ctx.clock.monotonic() + SLICE_SECONDS):
        return Result()
    done = ctx.session.progress.total
    note = Note("Populated", f"{done:,} points are on {ctx.subject}.", "Populate")
    return Result(Event.POPULATED, (note,))
