"""Rolling back: the alias moves back to a revision that is still retained.

The spec declares that revision again, or the migration away from it was declined (`decline.py`). Nothing is
populated again. Rounds in one direction copy to the retained side what changed on the serving one since both were
in step. Then the cut-over is the same as in a promotion.
"""

from __future__ import annotations

from dataclasses import replace

from teal.domain.errors import TransientError
from teal.domain.marks import CutoverBegun, Migration
from teal.domain.observed import CollectionState
from teal.domain.plan import same_encoder
from teal.domain.transitions import Event, Stage, advance
from teal.migration.context import Context, Result
from teal.migration.contract import Note
from teal.migration.cutover import attempt
from teal.migration.cutover.alias import point_alias
from teal.migration.cutover.looks import Looks
from teal.migration.cutover.proof import LastCutover
from teal.migration.probing import search
from teal.migration.steps import decline, repair, stages
from teal.migration.sync import between
from teal.migration.sync.catching_up import Rollback
from teal.migration.sync.memory import PairMemories, PairMemory
from teal.qdrant import wire

HURRY_SECONDS = 5.0
"""How long a rollback by annotation, or by a breach of the watch, waits for a moment without writes."""
PATIENCE_SECONDS = 30.0
"""How long a rollback by a breach waits for a serving collection that cannot be read."""


async def run(ctx: Context) -> Result:
    """Mark the retained collection as `RollingBack`, bring it up to date, cut over."""
    serving, back = ctx.the_source(), ctx.the_subject()
    migration = back.marks.migration
    if migration is None or migration.stage is not Stage.ROLLING_BACK or _begins_again(serving, migration):
        ctx.session.drop(between.Between)
        await _begin(ctx, migration)
        reasons = "; ".join(str(reason) for reason in ctx.plan.reasons)
        why = ctx.declined.message if ctx.declined else reasons
        note = Note("RollbackStarted", f"{serving.name} → {back.name}, which is retained: {why}", "RollBack")
        return Result(notes=(note,))
    if ctx.declined:
        hurried = replace(ctx.options, quiet_wait=min(HURRY_SECONDS, ctx.options.quiet_wait))
        ctx = replace(ctx, options=hurried)
    try:
        return await _return(ctx, serving, back, migration)
    except TransientError as error:
        if not _cannot_wait(ctx):
            raise
        return await _force(ctx, serving, back, error)


async def _return(ctx: Context, serving: CollectionState, back: CollectionState, migration: Migration) -> Result:
    if repair.is_watched_again(ctx, migration):
        await search.prepare_watch(ctx, serving)
    memory = ctx.session.part(PairMemories).of(serving.name, back.name)
    if memory.ledgers is None and not await between.bring_in_step(ctx, back.name):
        return Result(requeue_after=0.2, detail="bringing the collections in between in step")
    proof = await attempt.attempt(ctx, serving, back, Rollback(ctx, serving, back))
    if proof is None:
        return Result(requeue_after=0.2, detail="bringing the retained collection up to date")
    ctx.session.part(LastCutover).proof = proof
    await ctx.server.mark(back.name, clear=(CutoverBegun.KEY,))
    losses = _losses(ctx, memory)
    message = (
        f"The alias {ctx.desired.alias!r} points at {back.name} again; {memory.to_retained:,} points were brought "
        "up to date"
    )
    note = Note("MigrationRolledBack", f"{message}{losses}.", "RollBack", warning=bool(losses))
    return Result(notes=(note,), outcome="RolledBack")


def _begins_again(serving: CollectionState, migration: Migration) -> bool:
    """Whether this very return was stopped, and then asked for again."""
    stopped = serving.marks.declined
    return stopped is not None and stopped.lifted and stopped.id == migration.id


def _cannot_wait(ctx: Context) -> bool:
    """Whether the watch was breached and the serving collection cannot be read either: then do not wait for it."""
    declined = ctx.declined
    if declined is None or declined.reason != decline.WATCH_BREACHED:
        return False
    return ctx.clock.now() - declined.at > PATIENCE_SECONDS


async def _force(ctx: Context, serving: CollectionState, back: CollectionState, error: TransientError) -> Result:
    """Cut over without the last pass. The versions noted at the last cut-over are kept, with the sides exchanged.

    So the rounds (`sync/rounds.py`) copy what was written meanwhile as soon as it can be read.
    """
    noted = serving.marks.in_step.get(back.name)
    if noted and noted.here and noted.there:
        await ctx.server.mark(back.name, noted.exchanged(serving.name))
    ctx.session.stop()
    ctx.session.part(PairMemories).clear()
    ctx.session.drop(Looks)
    await point_alias(ctx, ctx.desired.alias, back.name, expected=serving.name)
    message = (
        f"The alias {ctx.desired.alias!r} points at {back.name} again, but writes since the cut-over are missing "
        f"there, because {serving.name} cannot be read ({error.message}) They are copied once it can be."
    )
    note = Note("MigrationRolledBack", message, "RollBack", warning=True)
    return Result(notes=(note,), outcome="RolledBack")


def _losses(ctx: Context, memory: PairMemory) -> str:
    """Which points were not copied back, and where they are."""
    left, said = len(memory.uncarried.get(memory.newer, ())), ""
    if left:
        told = [memory.reason, *ctx.plan.warnings]
        why = next((text for text in told if text), "they have no text to embed")
        said += f", {left:,} could not be copied and are only on {ctx.plan.source} ({why})"
    if memory.unsettled:
        said += (
            f"; {len(memory.unsettled):,} points differ and it is not known which side changed (such as "
            f"{wire.id_text(next(iter(memory.unsettled)))}): write or delete them again"
        )
    if memory.kept:
        said += (
            f"; {memory.kept:,} points that are gone from {ctx.plan.source} are kept, because losing "
            "more than half of all points looks like an accident: if it was on purpose, delete them again"
        )
    return said


async def _begin(ctx: Context, migration: Migration | None) -> None:
    now, plan = ctx.clock.now(), ctx.plan
    before = migration or Migration(plan.hash, plan.data_hash, Stage.READY, plan.source, now)
    breached = ctx.declined is not None and ctx.declined.reason == decline.WATCH_BREACHED
    stage = before.stage
    if stage is not Stage.ROLLING_BACK:
        stage = advance(stage, Event.BREACHED if breached else Event.REVERTED)
    # A new attempt number each time, so that an annotation for an earlier one cannot act on this one.
    copied = same_encoder(ctx.the_source(), ctx.the_subject())
    begun = Migration(plan.hash, plan.data_hash, stage, plan.source, now, before.attempt + 1, now, copied=copied)
    await stages.write(ctx, ctx.subject, begun)
