"""Declining a migration: abort, rollback and a breach all come down to one mark on the collection to stay with.

The mark is what holds, not the annotation: `decide` gives up a green that is under way, goes back from one that
serves, and stays, whatever is lost or killed in between.
"""

from __future__ import annotations

from dataclasses import replace

from teal.domain import marks
from teal.domain.marks import Declined
from teal.migration.context import Result, Work
from teal.migration.contract import Note

ABORTED = "Aborted"
ROLLED_BACK = "RolledBack"
WATCH_BREACHED = "WatchBreached"

EVENTS = {ABORTED: "MigrationAborted", ROLLED_BACK: "RollbackRequested", WATCH_BREACHED: "WatchBreached"}


async def run(work: Work) -> Result:
    """Remember on `subject` that the way from it is not wanted."""
    if work.declined is None:
        raise LookupError("a decision to decline says why")
    return await write(work, work.subject, work.declined)


async def write(work: Work, name: str, declined: Declined) -> Result:
    """Write the mark on `name`; the next look acts on it."""
    work.session.stop()
    await work.server.admin.mark(name, {marks.DECLINED: declined.as_json()})
    work.server.invalidate(name)
    note = Note(EVENTS[declined.reason], declined.message, "Decline", warning=True)
    return Result(notes=(note,), outcome=ABORTED if declined.reason == ABORTED else None)


async def lift(work: Work) -> Result:
    """The way is open again: by `retry`, or because the spec asks for something else."""
    declined = work.the_target().marks.declined
    if declined is None:
        raise LookupError("only what was declined can be lifted")
    await work.server.admin.mark(work.subject, {marks.DECLINED: replace(declined, lifted=True).as_json()})
    work.server.invalidate(work.subject)
    if work.declined is None:
        return Result()
    return Result(notes=(Note("MigrationRetried", f"After {declined.id}, which was stopped.", "Retry"),))
