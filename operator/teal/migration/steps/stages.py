"""From a stage to its step, and from a step's event to the next stage.

The stage on green is written only here: after the step's effect is durable, by the transition table, together
with what led there. A step that cannot go on for good puts the migration into `Held`, where it stays, through
restarts, until the plan changes or `teal.dev/retry` names it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from teal.domain.errors import HeldError
from teal.domain.marks import Checkpoint, Frozen, Migration, StoredVerdict
from teal.domain.marks.table import cleared_on
from teal.domain.schema import next_alias
from teal.domain.transitions import HAS_SERVED, Event, Stage, advance
from teal.migration.context import Context, Result
from teal.migration.contract import Note
from teal.migration.cutover.alias import may_set
from teal.migration.steps import (
    await_promotion,
    catch_up,
    decline,
    index,
    populate,
    promote,
    repair,
    verify,
    watch,
)

HELD_SECONDS = 300.0

Step = Callable[[Context], Awaitable[Result]]


STEPS: dict[Stage, Step] = {
    Stage.POPULATING: populate.run,
    Stage.CATCHING_UP: catch_up.run,
    Stage.INDEXING: index.run,
    Stage.VERIFYING: verify.run,
    Stage.AWAITING_PROMOTION: await_promotion.run,
    Stage.PROMOTING: promote.run,
    Stage.WATCHING: watch.run,
}


async def continue_migration(ctx: Context) -> Result:
    """One step of the migration that `subject` is the target of."""
    migration = ctx.the_subject().marks.migration
    if migration is None:
        raise HeldError("MarksDamaged", f"{ctx.subject} is ours, but its mark {Migration.KEY!r} is gone.")
    if migration.stage is not Stage.WATCHING:
        if migration.data_hash != ctx.plan.data_hash:
            return await repair.drop_abandoned(ctx)
        if migration.plan_hash != ctx.plan.hash:
            return await _edited(ctx, migration)
        if migration.stage is Stage.HELD:
            return await _held(ctx, migration)
    if _abandons_first(ctx, migration):
        why = f"The first revision was stopped by the annotation teal.dev/abort={migration.id}."
        return await _hold(ctx, migration, HeldError(decline.ABORTED, why))
    try:
        result = await STEPS[migration.stage](ctx)
    except HeldError as error:
        return await _hold(ctx, migration, error)
    if result.event is Event.FAILED:
        failure = HeldError("VerificationFailed", result.detail)
        held = await _hold(ctx, migration, failure)
        return replace(held, notes=result.notes)
    if result.event:
        await enter(ctx, migration.at(advance(migration.stage, result.event), ctx.clock.now()))
    return result


def _abandons_first(ctx: Context, migration: Migration) -> bool:
    """Whether somebody aborts the first revision: with no blue to remember it on, green is kept and remembers."""
    aborted = ctx.desired.asked.abort == migration.id
    return aborted and ctx.plan.source is None and migration.stage not in HAS_SERVED


async def enter(ctx: Context, migration: Migration) -> None:
    """Write the stage; from *Verifying* on `<alias>-next` shows green to whoever wants to look.

    The stage is written last: it says that all that belongs to entering it is done.
    """
    preview = next_alias(ctx.desired.alias)
    if migration.stage is Stage.VERIFYING and ctx.plan.source and may_set(ctx, preview):
        before = ctx.observed.aliases.get(preview)
        await ctx.server.set_alias(preview, ctx.subject, expected=before, ours=ctx.mine)
    await ctx.server.mark(ctx.subject, migration, clear=cleared_on(migration.stage))
    ctx.session.step_since = 0.0


async def _hold(ctx: Context, migration: Migration, error: HeldError) -> Result:
    stage = advance(migration.stage, Event.FAILED)
    await enter(ctx, migration.at(stage, ctx.clock.now(), error.reason, error.message))
    serving = f" {ctx.plan.source} keeps serving." if ctx.plan.source else ""
    note = Note(error.reason, f"{error.message}{serving}", "Hold", warning=True)
    return Result(notes=(note,), requeue_after=HELD_SECONDS)


async def _held(ctx: Context, migration: Migration) -> Result:
    if ctx.desired.asked.retry != migration.id:
        return Result(requeue_after=HELD_SECONDS)
    again = replace(migration, attempt=migration.attempt + 1)
    # From the beginning: what was taken for copied may be what is wrong.
    ctx.session.stop()
    ctx.session.ledger = ctx.session.frozen = None
    await ctx.server.mark(ctx.subject, clear=(StoredVerdict.KEY, Checkpoint.KEY, Frozen.KEY))
    await enter(ctx, again.at(advance(migration.stage, Event.RETRIED), ctx.clock.now()))
    return Result(notes=(Note("MigrationRetried", f"Attempt {again.attempt} into {ctx.subject}.", "Retry"),))


async def _edited(ctx: Context, migration: Migration) -> Result:
    """The plan changed in what is tuned, not in the points: what was populated stays."""
    stage = advance(migration.stage, Event.EDITED)
    await ctx.server.mark(ctx.subject, clear=(StoredVerdict.KEY,))
    edited = replace(migration, plan_hash=ctx.plan.hash).at(stage, ctx.clock.now())
    await enter(ctx, edited)
    return Result(notes=(Note("PlanChanged", f"The plan for {ctx.subject} is now {edited.plan_hash}.", "Plan"),))
