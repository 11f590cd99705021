"""Provisioning: say what the migration will cost, then create green, marked as ours from its first moment.

Creation and ownership are one request, so no crash can leave a collection that nobody owns; the name is
deterministic, so a repeated create finds its own work.
"""

from __future__ import annotations

from typing import Any

from teal.domain import marks
from teal.domain.carry import create_body
from teal.domain.forecast import Forecast, forecast, refuse_over_budget
from teal.domain.marks import Migration, Owner
from teal.domain.ownership import ours
from teal.domain.plan import Population
from teal.domain.schema import next_alias
from teal.domain.transitions import Event, Stage, advance
from teal.domain.writes import WriteMode
from teal.migration.context import Result, Work
from teal.migration.contract import Note
from teal.qdrant import wire

SAMPLE = 64


async def run(work: Work) -> Result:
    """Create green. The forecast stands in status and in an Event before the first point moves."""
    figures = await estimate(work)
    refuse_over_budget(figures, work.options.max_tokens)
    work.session.forecast = figures
    plan, now = work.plan, work.clock.now()
    body = create_body(plan.schema, plan.tuning, _marks(work, now), defer=plan.source is not None)
    await _forget_namesake(work)
    await work.server.admin.create(plan.target, body)
    if work.options.writes is WriteMode.DUAL_WRITE and plan.source is not None:
        await work.server.admin.point_alias(next_alias(work.desired.alias), plan.target)
    work.server.invalidate()
    return Result(notes=_notes(work, figures), detail=f"created {plan.target}")


async def _forget_namesake(work: Work) -> None:
    """A revision's name comes again with it: what others noted of an earlier one does not hold for this one."""
    target = work.plan.target
    for name, state in work.observed.states.items():
        noted = marks.keys_about(state.config.get("metadata"), target)
        if noted and name != target and ours(state, work.desired.identity):
            await work.server.admin.mark(name, dict.fromkeys(noted))
            work.server.invalidate(name)


async def estimate(work: Work) -> Forecast:
    """Sizes from a small sample of blue; exact for a collection smaller than the sample."""
    if work.source is None:
        return forecast(work.plan, 0, 0.0, 0.0)
    points = work.server.points
    total = await work.server.admin.count(work.source.name)
    async for page in points.ids(work.source.name, page=SAMPLE):
        sample = await points.fetch(work.source.name, page, vectors=False)
        break
    else:
        sample = []
    payload = [sum(len(entry) for entry in point.payload) for point in sample]
    lengths = (
        [len(str(wire.payload_value(p.payload, work.plan.text_field) or "")) for p in sample]
        if (work.plan.population is Population.REEMBED and work.plan.text_field)
        else []
    )
    return forecast(work.plan, total, _mean(payload), _mean(lengths))


def _mean(values: list[int]) -> float:
    return sum(values) / len(values) if values else 0.0


def _marks(work: Work, now: float) -> dict[str, Any]:
    desired, plan = work.desired, work.plan
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
    migration = Migration(plan.hash, plan.data_hash, stage, plan.source, now, _attempt(work), stage_since=now)
    found: dict[str, Any] = _applications_own(work) | {
        marks.OWNER: owner.as_json(),
        marks.MIGRATION: migration.as_json(),
        marks.DECLARED: desired.tuning.declared(),
    }
    if desired.encoder:
        found[marks.ENCODER] = desired.encoder.as_metadata()
    return found


def _attempt(work: Work) -> int:
    """The first, or the one after what was stopped, so that an old annotation cannot stop it again."""
    before = work.source.marks.declined if work.source else None
    return before.attempt + 1 if before and before.plan_hash == work.plan.hash else 1


def _applications_own(work: Work) -> dict[str, Any]:
    """What the application keeps in blue's metadata goes along."""
    metadata = work.source.config.get("metadata") if work.source else None
    return {key: value for key, value in (metadata or {}).items() if not marks.is_mark(key)}


def _notes(work: Work, figures: Forecast) -> tuple[Note, ...]:
    plan = work.plan
    if plan.source is None:
        return (
            Note("CollectionCreated", f"Created {plan.target} for the alias {work.desired.alias!r}.", "Create"),
        )
    why = "; ".join(str(reason) for reason in plan.reasons)
    started = Note("MigrationStarted", f"{plan.source} → {plan.target} ({plan.population}): {why}", "Migrate")
    cost = Note("MigrationForecast", f"{figures}.", "Migrate")
    warned = tuple(Note("MigrationWarning", text, "Migrate", warning=True) for text in plan.warnings)
    return (started, cost, *warned)
