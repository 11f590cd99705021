"""Provisioning: forecast what the migration will cost, then create green together with its marks.

Creation and ownership are one request, so no crash can leave a collection without an owner. The name is
deterministic, so creating it is idempotent.
"""

from __future__ import annotations

from typing import Any

from teal.domain.carry import create_body
from teal.domain.forecast import Forecast, refuse_over_budget
from teal.domain.marks import Mark, Migration, Owner, is_mark
from teal.domain.ownership import owner_text
from teal.domain.plan import Population
from teal.domain.schema import next_alias
from teal.domain.transitions import Event, Stage, advance
from teal.domain.writes import WriteMode
from teal.migration.context import Context, Result
from teal.migration.contract import Note
from teal.migration.copying.forecast import Cost, estimate
from teal.migration.cutover.alias import may_set
from teal.migration.steps import stages
from teal.migration.steps.partners import forget_gone


async def run(ctx: Context) -> Result:
    """Create green. The forecast stands in status and in an Event before the first point moves."""
    figures = await estimate(ctx)
    refuse_over_budget(figures, ctx.options.max_tokens)
    ctx.session.part(Cost).forecast = figures
    plan, now = ctx.plan, ctx.clock.now()
    first = plan.source is None
    tuning = plan.tuning if first else plan.tuning.without_limits
    body = create_body(plan.schema, tuning, _marks(ctx, now), defer=not first)
    await forget_gone(ctx)
    await ctx.server.create(plan.target, body)
    warned = await _offer_to_writers(ctx)
    return Result(notes=(*_notes(ctx, figures), *warned), detail=f"created {plan.target}")


async def _offer_to_writers(ctx: Context) -> tuple[Note, ...]:
    """With DualWrite, the application also writes to `<alias>-next`. An alias of somebody else is left alone."""
    preview, target = next_alias(ctx.desired.alias), ctx.plan.target
    if ctx.options.writes is not WriteMode.DUAL_WRITE or ctx.plan.source is None:
        return ()
    before = ctx.observed.aliases.get(preview)
    if may_set(ctx, preview):
        await ctx.server.set_alias(preview, target, expected=before, ours=ctx.mine)
        return ()
    whose = (
        f"points at {before!r}, which {owner_text(ctx.observed.state(before))}" if before else "is a collection"
    )
    text = (
        f"{preview!r} {whose}, so it is left alone. With writes: DualWrite, have the application write to "
        f"{target!r} by its own name."
    )
    return (Note("MigrationWarning", text, "Migrate", warning=True),)


def _marks(ctx: Context, now: float) -> dict[str, Any]:
    desired, plan = ctx.desired, ctx.plan
    owner = Owner(
        uid=desired.identity.uid,
        cluster=desired.identity.cluster,
        namespace=desired.identity.namespace,
        name=desired.identity.name,
        alias=desired.identity.alias,
        collection=plan.target,
        revision=plan.schema.revision,
        schema_version=plan.schema.schema_version,
        created_at=now,
    )
    stage = advance(Stage.PROVISIONING, Event.PROVISIONED)
    copied = plan.population is Population.COPY if plan.source else None
    migration = Migration(
        plan.hash, plan.data_hash, stage, plan.source, now, _attempt(ctx), stage_since=now, copied=copied
    )
    marks: list[Mark] = [owner, stages.born(migration), desired.tuning.declared()]
    if desired.encoder:
        marks.append(desired.encoder)
    return _applications_own(ctx) | {mark.key: mark.as_json() for mark in marks}


def _attempt(ctx: Context) -> int:
    """1, or one more than the attempt that was stopped, so that an old annotation cannot stop this one."""
    before = ctx.source.marks.declined if ctx.source else None
    return before.attempt + 1 if before and before.plan_hash == ctx.plan.hash else 1


def _applications_own(ctx: Context) -> dict[str, Any]:
    """The application's own keys in blue's metadata, which green gets too."""
    metadata = ctx.source.config.get("metadata") if ctx.source else None
    return {key: value for key, value in (metadata or {}).items() if not is_mark(key)}


def _notes(ctx: Context, figures: Forecast) -> tuple[Note, ...]:
    plan = ctx.plan
    if plan.source is None:
        return (
            Note("CollectionCreated", f"Created {plan.target} for the alias {ctx.desired.alias!r}.", "Create"),
        )
    why = "; ".join(str(reason) for reason in plan.reasons)
    started = Note("MigrationStarted", f"{plan.source} → {plan.target} ({plan.population}): {why}", "Migrate")
    cost = Note("MigrationForecast", f"{figures}.", "Migrate")
    warned = tuple(Note("MigrationWarning", text, "Migrate", warning=True) for text in plan.warnings)
    return (started, cost, *warned)
