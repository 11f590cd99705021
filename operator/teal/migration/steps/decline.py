"""Declining a migration: abort, rollback and a breach of the watch all write one mark, `declined`, on the
collection that keeps serving or is to serve again.

The mark decides, not the annotation: because of it `decide` drops a green that is under way, or rolls back from
one that serves, and then stays, also after a crash.
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
    """Write on `subject` that the migration away from it is declined."""
    if ctx.declined is None:
        raise LookupError("a decision to decline says why")
    return await write(ctx, ctx.subject, ctx.declined)


async def write(ctx: Context, name: str, declined: Declined) -> Result:
    """Write the mark on `name`; the next decision acts on it."""
    ctx.session.stop()
    await ctx.server.mark(name, declined)
    note = Note(EVENTS[declined.reason], declined.message, "Decline", warning=True)
    return Result(notes=(note,), outcome=ABORTED if declined.reason == ABORTED else None)


async def lift(ctx: Context) -> Result:
    """Lift the decline: `retry` asks for it, or the spec asks for something else."""
    declined = ctx.the_subject().marks.declined
    if declined is None:
        raise LookupError("only what was declined can be lifted")
    await ctx.server.mark(ctx.subject, replace(declined, lifted=True))
    if ctx.declined is None:
        return Result()
    return Result(
        notes=(Note("MigrationRetried", f"Migration {declined.id}, which was stopped, is tried again.", "Retry"),)
    )
