"""The limits of strict mode: green gets them last, right before the alias moves.

They are meant for the application. While green is filled, verified and caught up, Teal is its only writer, and a
rate limit would slow that down or stop it for good. They are set before the alias moves and not after it, so that
a crash in between leaves no collection that serves without its limits.
"""

from __future__ import annotations

from teal.domain.observed import CollectionState
from teal.domain.plan import Strategy
from teal.domain.tuning import LIMITS
from teal.migration.context import Context


async def give(ctx: Context, new: CollectionState) -> None:
    """Set the planned limits on `new`. A collection that has served before has its own."""
    limits = ctx.plan.tuning.sections.get(LIMITS)
    if limits and ctx.plan.strategy is not Strategy.ROLLBACK:
        await ctx.server.patch(new.name, {LIMITS: limits})
