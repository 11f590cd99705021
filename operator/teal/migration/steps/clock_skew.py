"""Clock skew between Teal and Qdrant: a wrong clock must not end a retention early, for a deletion is final.

Qdrant's clock is read from the `Date` header of an HTTP answer.
"""

from __future__ import annotations

from teal.migration.context import Context

TOLERATED_SECONDS = 60.0


async def seconds_behind(ctx: Context) -> float:
    """By how much Teal's clock is behind Qdrant's, negative if it is ahead.

    0 if they differ by less than a minute, or if Qdrant, or a proxy before it, sends no `Date`.
    """
    shown = await ctx.server.admin.time()
    skew = 0.0 if shown is None else ctx.clock.elsewhere(shown) - ctx.clock.now()
    return skew if abs(skew) > TOLERATED_SECONDS else 0.0
