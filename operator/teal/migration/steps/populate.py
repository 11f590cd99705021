"""Populating: the first pass, from an empty green or from where a crash left it."""

from __future__ import annotations

from teal.domain.transitions import Event
from teal.migration.context import SLICE_SECONDS, Result, Work
from teal.migration.contract import Note
from teal.migration.copying import copy_pass
from teal.migration.steps.provision import estimate

SHOW_SECONDS = 0.01


async def run(work: Work) -> Result:
    """One slice of copying; done when a whole pass is durably on green."""
    if work.source is None:
        return Result(Event.POPULATED)
    if work.session.forecast is None:
        # Lost with the process that made it; it is shown before anything is paid for, in this one too.
        work.session.forecast = await estimate(work)
        return Result(requeue_after=SHOW_SECONDS)
    if not await copy_pass.advance(work, work.clock.monotonic() + SLICE_SECONDS):
        return Result()
    done = work.session.progress.total
    note = Note("Populated", f"{done:,} points are on {work.subject}.", "Populate")
    return Result(Event.POPULATED, (note,))
