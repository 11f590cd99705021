"""Clearing marks about another collection (the partner) when that collection is gone.

A revision that is made again has the same name, and what was noted about the earlier collection does not hold for
the new one.
"""

from __future__ import annotations

from teal.migration.context import Context


async def forget_gone(ctx: Context, *deleted: str) -> None:
    """Clear all marks on our collections that are about `deleted`, or about any that does not exist any more."""
    for name, state in ctx.mine.items():
        gone = [each for each in state.marks.partners if each in deleted or each not in ctx.observed.names]
        keys = [key for each in gone for key in state.marks.keys_about(each)]
        if name not in deleted:
            await ctx.server.mark(name, clear=keys)
