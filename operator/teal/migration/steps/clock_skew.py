"""Whether the wall clock can be believed: a retention that a wrong one ends early cannot be given back.

Qdrant's own clock is asked, by the `Date` that an HTTP server tells with each answer.
"""

from __future__ import annotations

from teal.migration.context import Context

TOLERATED_SECONDS = 60.0


async def seconds_behind(ctx: Context) -> float:
    """By how much Teal's clock is behind Qdrant's, negative if it is ahead.

    0 where they agree to a minute, and where Qdrant, or a proxy before it, tells no time.
    """
    shown = await ctx.server.admin.time()
    found = 0.0 if shown is None else ctx.clock.elsewhere(shown) - ctx.clock.now()
    return found if abs(found) > TOLERATED_SECONDS else 0.0
