"""Declining a migration: abort, rollback and a breach all come down to one mark on the collection to stay with.

The mark is what holds, not the annotation: `decide` gives up a green that is under way, goes back from one that
serves, and stays, whatever is lost or killed in between.
"""

from __future__ import annotations

from dataclasses import replace

from teal.domain.marks import Declined
from teal.migration.context import Context, Result
from teal.migration.contract import Note

ABORTED = "Aborted"
ROLLED_BACK = "RolledBack"
WATCH_BREACHED = "WatchBreached"

EVENTS = {ABORTED: "MigrationAborted", ROLLED_BACK: "RollbackRequested", WATCH_BREACHED: "WatchBreached"}


async def run(ctx: Context) -> Result:
    """Remember on `subject` that the way from it is not wanted."""
    if ctx.declined is None:
        raise LookupError("a decision to decline says why")
    return await write(ctx, ctx.subject, ctx.declined)


async def write(ctx: Context, name: str, declined: Declined) -> Result:
    """Write the mark on `name`; the next look acts on it."""
    ctx.session.stop()
    await ctx.server.mark(name, declined)
    note = Note(EVENTS[declined.reason], declined.message, "Decline", warning=True)
    return Result(notes=(note,), outcome=ABORTED if declined.reason == ABORTED else None)


async def lift(ctx: Context) -> Result:
    """The way is open again: by `retry`, or because the spec asks for something else."""
    declined = ctx.the_subject().marks.declined
    if declined is None:
        raise LookupError("only what was declined can be lifted")
    await ctx.server.mark(ctx.subject, replace(declined, lifted=True))
    if ctx.declined is None:
        return Result()
    return Result(notes=(Note("MigrationRetried", f"After {declined.id}, which was stopped.", "Retry"),))
