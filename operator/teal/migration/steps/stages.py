"""From a stage to its step, and from a step's event to the next stage.

The stage on green is written only here: after the step's effect is durable, by the transition table, together
with what led there. A step that cannot go on for good puts the migration into `Held`, where it stays, through
restarts, until the plan changes or `teal.dev/retry` names it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from teal.domain import marks
from teal.domain.errors import HeldError
from teal.domain.marks import Migration
from teal.domain.ownership import ours
from teal.domain.schema import next_alias
from teal.domain.transitions import HAS_SERVED, Event, Stage, advance
from teal.migration.context import Result, Work
from teal.migration.contract import Note
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

Step = Callable[[Work], Awaitable[Result]]


STEPS: dict[Stage, Step] = {
    Stage.POPULATING: populate.run,
    Stage.CATCHING_UP: catch_up.run,
    Stage.INDEXING: index.run,
    Stage.VERIFYING: verify.run,
    Stage.AWAITING_PROMOTION: await_promotion.run,
    Stage.PROMOTING: promote.run,
    Stage.WATCHING: watch.run,
}


async def continue_migration(work: Work) -> Result:
    """One step of the migration that `subject` is the target of."""
    migration = work.the_target().marks.migration
    if migration is None:
        raise HeldError("MarksDamaged", f"{work.subject} is ours, but its mark {marks.MIGRATION!r} is gone.")
    if migration.stage is not Stage.WATCHING:
        if migration.data_hash != work.plan.data_hash:
            return await repair.drop_abandoned(work)
        if migration.plan_hash != work.plan.hash:
            return await _edited(work, migration)
        if migration.stage is Stage.HELD:
            return await _held(work, migration)
    if _abandons_first(work, migration):
        why = f"The first revision was stopped by the annotation teal.dev/abort={migration.id}."
        return await _hold(work, migration, HeldError(decline.ABORTED, why))
    try:
        result = await STEPS[migration.stage](work)
    except HeldError as error:
        return await _hold(work, migration, error)
    if result.event is Event.FAILED:
        failure = HeldError("VerificationFailed", result.detail)
        held = await _hold(work, migration, failure)
        return replace(held, notes=result.notes)
    if result.event:
        await enter(work, migration.at(advance(migration.stage, result.event), work.clock.now()))
    return result


def _abandons_first(work: Work, migration: Migration) -> bool:
    """Whether somebody aborts the first revision: with no blue to remember it on, green is kept and remembers."""
    aborted = work.desired.asked.abort == migration.id
    return aborted and work.plan.source is None and migration.stage not in HAS_SERVED


async def enter(work: Work, migration: Migration) -> None:
    """Write the stage; from *Verifying* on `<alias>-next` shows green to whoever wants to look.

    The stage is written last: it says that all that belongs to entering it is done.
    """
    preview = next_alias(work.desired.alias)
    if migration.stage is Stage.VERIFYING and work.plan.source and _free(work, preview):
        await work.server.admin.point_alias(preview, work.subject)
    written: dict[str, Any] = {marks.MIGRATION: migration.as_json()}
    if migration.stage is Stage.WATCHING:
        written[marks.SWITCH] = None
    await work.server.admin.mark(work.subject, written)
    work.session.step_since = 0.0
    work.server.invalidate(work.subject)


def _free(work: Work, alias: str) -> bool:
    """Whether a lesser alias of ours may be set: another resource may be called like it."""
    at = work.observed.aliases.get(alias)
    return alias not in work.observed.names and (
        at is None or ours(work.observed.state(at), work.desired.identity)
    )


async def _hold(work: Work, migration: Migration, error: HeldError) -> Result:
    stage = advance(migration.stage, Event.FAILED)
    await enter(work, migration.at(stage, work.clock.now(), error.reason, error.message))
    serving = f" {work.plan.source} keeps serving." if work.plan.source else ""
    note = Note(error.reason, f"{error.message}{serving}", "Hold", warning=True)
    return Result(notes=(note,), requeue_after=HELD_SECONDS)


async def _held(work: Work, migration: Migration) -> Result:
    if work.desired.asked.retry != migration.id:
        return Result(requeue_after=HELD_SECONDS)
    again = replace(migration, attempt=migration.attempt + 1)
    # From the beginning: what was taken for copied may be what is wrong.
    work.session.stop()
    work.session.ledger = work.session.frozen = None
    forgotten = {marks.VERDICT: None, marks.CHECKPOINT: None, marks.FROZEN: None}
    await work.server.admin.mark(work.subject, forgotten)
    await enter(work, again.at(advance(migration.stage, Event.RETRIED), work.clock.now()))
    return Result(notes=(Note("MigrationRetried", f"Attempt {again.attempt} into {work.subject}.", "Retry"),))


async def _edited(work: Work, migration: Migration) -> Result:
    """The plan changed in what is tuned, not in the points: what was populated stays."""
    stage = advance(migration.stage, Event.EDITED)
    await work.server.admin.mark(work.subject, {marks.VERDICT: None})
    edited = replace(migration, plan_hash=work.plan.hash).at(stage, work.clock.now())
    await enter(work, edited)
    return Result(notes=(Note("PlanChanged", f"The plan for {work.subject} is now {edited.plan_hash}.", "Plan"),))
