"""Resting: nothing is to be done until a time that the clock will reach, or until the resource changes."""

from __future__ import annotations

from teal.migration.context import Context, Result
from teal.migration.sync.memory import PairMemories

RESYNC_SECONDS = 600.0
SHORTEST_SECONDS = 1.0


async def run(ctx: Context) -> Result:
    """Requeue for when a retention ends or a round is due, at the latest for the resync."""
    now = ctx.clock.now()
    retained = [state.marks.replaced for state in ctx.observed.states.values() if state.marks.replaced]
    ends = [replaced.until(ctx.desired.keep_for) - now for replaced in retained]
    rounds = [
        max(0.5, memory.due - ctx.clock.monotonic()) for memory in ctx.session.part(PairMemories).pairs.values()
    ]
    due = [seconds for seconds in (*ends, *rounds) if seconds > 0]
    return Result(requeue_after=max(SHORTEST_SECONDS, min([RESYNC_SECONDS, *due])))
