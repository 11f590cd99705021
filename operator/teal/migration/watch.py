"""Watching: for a while after the switch, does what serves really answer?

A search through the alias at every interval. An error is retried and shown; nothing is concluded from a server
that cannot be reached.
"""

from __future__ import annotations

from teal.domain.transitions import Event
from teal.migration.contract import Note
from teal.migration.throttle import small_search
from teal.migration.work import Result, Work


async def run(work: Work) -> Result:
    """One probe; done when `watch.duration` has passed since the switch."""
    state = work.the_target()
    migration = state.marks.migration
    since = migration.stage_since if migration else 0.0
    if migration is None or migration.source is None:
        return Result(Event.WATCHED)
    await small_search(work, state.name, work.desired.alias)
    left = since + work.options.watch_for - work.clock.now()
    if left > 0:
        return Result(requeue_after=min(left, work.options.watch_every))
    note = Note("MigrationCompleted", f"{state.name} has served for {work.options.watch_for:.0f} s.", "Watch")
    return Result(Event.WATCHED, (note,))
