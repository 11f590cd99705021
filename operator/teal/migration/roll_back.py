"""Rolling back: the declared revision is still retained, so the alias goes back to it.

Nothing is populated again. The pass runs from the serving side to the retained one and takes only what changed
since the switch, whose versions were noted on the serving side right before it; then the cut-over is the same.
"""

from __future__ import annotations

from teal.domain import marks
from teal.domain.ledger import ledger_of
from teal.domain.marks import Migration
from teal.domain.transitions import Event, Stage, advance
from teal.migration import cutover
from teal.migration.contract import Note
from teal.migration.in_step import InStep, Pair, take_back
from teal.migration.work import SLICE_SECONDS, Result, Work


async def run(work: Work) -> Result:
    """Mark the retained collection as on its way back, bring it up to date, switch."""
    serving, back = work.the_source(), work.the_target()
    migration = back.marks.migration
    if migration is None or migration.stage is not Stage.ROLLING_BACK:
        await _begin(work, migration)
        why = "; ".join(str(reason) for reason in work.plan.reasons)
        note = Note("RollbackStarted", f"{serving.name} → {back.name}, which is retained: {why}", "RollBack")
        return Result(notes=(note,))
    if work.session.ledger is None:
        until = work.clock.monotonic() + SLICE_SECONDS
        memory = work.session.in_step = work.session.in_step or InStep()
        pair = Pair(serving, back, work.embedder, work.desired.text_field)
        if not await take_back(work, pair, memory, until):
            return Result(detail="bringing the retained collection up to date")
        work.session.ledger = ledger_of(memory.known_serving or {})
        work.session.writes.copied += memory.back
    proof = await cutover.attempt(work, serving, back)
    if proof is None:
        return Result(requeue_after=0.2, detail="waiting for a moment without writes")
    work.session.writes.proof = proof
    work.server.invalidate()
    writes = work.session.writes
    taken, left = (
        writes.copied + writes.deleted,
        len(writes.left_behind) + (work.session.in_step.left_behind if work.session.in_step else 0),
    )
    behind = f", {left:,} could not be ({'; '.join(work.plan.warnings)})" if left else ""
    message = f"The alias {work.desired.alias!r} is back on {back.name}; {taken:,} points were brought up to date"
    note = Note("MigrationRolledBack", f"{message}{behind}.", "RollBack", warning=bool(left))
    return Result(notes=(note,))


async def _begin(work: Work, migration: Migration | None) -> None:
    now, plan = work.clock.now(), work.plan
    before = migration or Migration(plan.hash, plan.data_hash, Stage.READY, plan.source, now)
    stage = advance(before.stage, Event.REVERTED)
    begun = Migration(plan.hash, plan.data_hash, stage, plan.source, now, before.attempt, now)
    await work.server.admin.mark(work.subject, {marks.MIGRATION: begun.as_json()})
    work.server.invalidate(work.subject)
