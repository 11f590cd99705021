"""The only place where a migration's stage is written.

`write` runs after the step's effect is durable, and the transition table gives the next stage. A step that cannot
go on without somebody's help puts the migration into `Held`. It stays there, also after a restart, until the plan
changes or `teal.dev/retry` names it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from teal.domain.errors import HeldError
from teal.domain.marks import Checkpoint, Frozen, Mark, Migration, StoredVerdict
from teal.domain.marks.table import cleared_on
from teal.domain.schema import next_alias
from teal.domain.transitions import Event, Stage, advance
from teal.migration.context import Context, Result
from teal.migration.contract import Note
from teal.migration.copying.memory import CopyMemory
from teal.migration.cutover.alias import may_set
from teal.migration.steps import decline
from teal.migration.steps.index import IndexMemory

VERIFICATION_FAILED = "VerificationFailed"

Step = Callable[[Context], Awaitable[Result]]


def staged(step: Step) -> Step:
    """`step`, and after it the stage of `subject` that follows from its event."""

    async def run(ctx: Context) -> Result:
        try:
            result = await step(ctx)
        except HeldError as error:
            return await hold(ctx, error)
        if result.event is Event.FAILED:
            held = await hold(ctx, HeldError(VERIFICATION_FAILED, result.detail))
            return replace(held, notes=result.notes)
        if result.event:
            await enter(ctx, advanced(ctx, result.event))
        return result

    return run


def advanced(ctx: Context, event: Event) -> Migration:
    """The mark of `subject` after `event`."""
    migration = migration_of(ctx)
    anew = migration.anew and event is not Event.VERIFIED
    return replace(migration, anew=anew).at(advance(migration.stage, event), ctx.clock.now())


def migration_of(ctx: Context) -> Migration:
    """The mark of the migration into `subject`; the policy names no step of one that has none."""
    migration = ctx.the_subject().marks.migration
    if migration is None:
        raise LookupError(f"{ctx.subject} carries no mark of a migration")
    return migration


async def enter(ctx: Context, migration: Migration) -> None:
    """Write the stage; from *Verifying* on, `<alias>-next` points at green, as a preview.

    The stage is written last, because it says that everything that belongs to entering it is done.
    """
    preview = next_alias(ctx.desired.alias)
    if migration.stage is Stage.VERIFYING and ctx.plan.source and may_set(ctx, preview):
        before = ctx.observed.aliases.get(preview)
        await ctx.server.set_alias(preview, ctx.subject, expected=before, ours=ctx.mine)
    await write(ctx, ctx.subject, migration)
    ctx.session.drop(IndexMemory)


async def write(ctx: Context, name: str, migration: Migration, *also: Mark) -> None:
    """Write the stage of the migration into `name`, with what belongs to it, and clear what it ends the use of."""
    await ctx.server.mark(name, *also, born(migration), clear=cleared_on(migration.stage))


def born(migration: Migration) -> Mark:
    """The stage as a mark, for a collection that gets it in the request that creates it."""
    return migration


async def hold(ctx: Context, error: HeldError) -> Result:
    """The migration is held, for a reason that needs somebody's attention; blue keeps serving."""
    migration = migration_of(ctx)
    stage = advance(migration.stage, Event.FAILED)
    await enter(ctx, migration.at(stage, ctx.clock.now(), error.reason, error.message))
    serving = f" {ctx.plan.source} keeps serving." if ctx.plan.source else ""
    note = Note(error.reason, f"{error.message}{serving}", "Hold", warning=True)
    return Result(notes=(note,))


async def abort_first(ctx: Context) -> Result:
    """The first revision is aborted. There is no blue to write the mark `declined` on, so green is held."""
    why = f"The first revision was aborted by the annotation teal.dev/abort={migration_of(ctx).id}."
    return await hold(ctx, HeldError(decline.ABORTED, why))


async def retry(ctx: Context) -> Result:
    """From the beginning: the points that count as copied may be what is wrong.

    After a failed verification that holds for vectors, too, although they have been paid for.
    """
    migration = migration_of(ctx)
    ctx.session.stop()
    ctx.session.drop(CopyMemory)
    await ctx.server.mark(ctx.subject, clear=(StoredVerdict.KEY, Checkpoint.KEY, Frozen.KEY))
    anew = migration.anew or migration.reason == VERIFICATION_FAILED
    again = replace(migration, attempt=migration.attempt + 1, anew=anew)
    await enter(ctx, again.at(advance(migration.stage, Event.RETRIED), ctx.clock.now()))
    return Result(
        notes=(
            Note(
                "MigrationRetried", f"Attempt {again.attempt} of the migration to {ctx.subject} begins.", "Retry"
            ),
        )
    )


async def retune(ctx: Context) -> Result:
    """Only settings were edited: copied points are kept, the verdict and earlier approvals are not."""
    migration = migration_of(ctx)
    await ctx.server.mark(ctx.subject, clear=(StoredVerdict.KEY,))
    edited = replace(migration, plan_hash=ctx.plan.hash)
    await enter(ctx, edited.at(advance(migration.stage, Event.EDITED), ctx.clock.now()))
    message = (
        f"Settings of {ctx.subject} changed; copied points are kept. New plan {edited.plan_hash}; earlier "
        "approvals no longer apply."
    )
    return Result(notes=(Note("PlanChanged", message, "Plan"),))
