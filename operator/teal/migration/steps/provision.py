"""Provisioning: say what the migration will cost, then create green, marked as ours from its first moment.

Creation and ownership are one request, so no crash can leave a collection that nobody owns; the name is
deterministic, so a repeated create finds its own ctx.
"""

from __future__ import annotations

from typing import Any

from teal.domain import marks
from teal.domain.carry import create_body
from teal.domain.forecast import Forecast, refuse_over_budget
from teal.domain.marks import Migration, Owner
from teal.domain.ownership import ours
from teal.domain.schema import next_alias
from teal.domain.transitions import Event, Stage, advance
from teal.domain.writes import WriteMode
from teal.migration.context import Context, Result
from teal.migration.contract import Note
from teal.migration.copying.forecast import Cost, estimate
from teal.migration.steps import stages


async def run(ctx: Context) -> Result:
    """Create green. The forecast stands in status and in an Event before the first point moves."""
    figures = await estimate(ctx)
    refuse_over_budget(figures, ctx.options.max_tokens)
    ctx.session.part(Cost).forecast = figures
    plan, now = ctx.plan, ctx.clock.now()
    body = create_body(plan.schema, plan.tuning, _marks(ctx, now), defer=plan.source is not None)
    await _forget_namesake(ctx)
    await ctx.server.admin.create(plan.target, body)
    if ctx.options.writes is WriteMode.DUAL_WRITE and plan.source is not None:
        await ctx.server.admin.point_alias(next_alias(ctx.desired.alias), plan.target)
    ctx.server.invalidate()
    return Result(notes=_notes(ctx, figures), detail=f"created {plan.target}")


async def _forget_namesake(ctx: Context) -> None:
    """A revision's name comes again with it: what others noted of an earlier one does not hold for this one."""
    target = ctx.plan.target
    for name, state in ctx.observed.states.items():
        noted = marks.keys_about(state.config.get("metadata"), target)
        if noted and name != target and ours(state, ctx.desired.identity):
            await ctx.server.admin.mark(name, dict.fromkeys(noted))
            ctx.server.invalidate(name)


def _marks(ctx: Context, now: float) -> dict[str, Any]:
    desired, plan = ctx.desired, ctx.plan
    owner = Owner(
        uid=desired.identity.uid,
        cluster=desired.identity.cluster,
        namespace=desired.identity.namespace,
        name=desired.identity.name,
        collection=plan.target,
        revision=plan.schema.revision,
        schema_version=plan.schema.schema_version,
        created_at=now,
    )
    stage = advance(Stage.PROVISIONING, Event.PROVISIONED)
    migration = Migration(plan.hash, plan.data_hash, stage, plan.source, now, _attempt(ctx), stage_since=now)
    found: dict[str, Any] = _applications_own(ctx) | {
        marks.OWNER: owner.as_json(),
        **stages.born(migration),
        marks.DECLARED: desired.tuning.declared(),
    }
    if desired.encoder:
        found[marks.ENCODER] = desired.encoder.as_metadata()
    return found


def _attempt(ctx: Context) -> int:
    """The first, or the one after what was stopped, so that an old annotation cannot stop it again."""
    before = ctx.source.marks.declined if ctx.source else None
    return before.attempt + 1 if before and before.plan_hash == ctx.plan.hash else 1


def _applications_own(ctx: Context) -> dict[str, Any]:
    """What the application keeps in blue's metadata goes along."""
    metadata = ctx.source.config.get("metadata") if ctx.source else None
    return {key: value for key, value in (metadata or {}).items() if not marks.is_mark(key)}


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
