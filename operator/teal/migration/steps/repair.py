"""The bookkeeping around a switch: each is one idempotent write, and each is found again after a crash."""

from __future__ import annotations

from typing import Any

from teal.domain import marks
from teal.domain.decide import misplaced_aliases
from teal.domain.errors import TransientError
from teal.domain.marks import Migration, Replaced
from teal.domain.observed import CollectionState
from teal.domain.ownership import ours
from teal.domain.schema import next_alias
from teal.domain.transitions import Event, Stage, advance
from teal.migration.context import Result, Work
from teal.migration.contract import Note
from teal.migration.cutover import attempt, late_writes
from teal.migration.steps.clock_skew import seconds_behind


async def finish_switch(work: Work) -> Result:
    """The alias is on `subject`, but its marks do not say so yet."""
    state = work.the_target()
    migration, now = state.marks.migration, work.clock.now()
    cleared: dict[str, Any] = {marks.REPLACED: None, marks.CHECKPOINT: None, marks.SWITCH: None}
    notes: tuple[Note, ...] = ()
    if old := _cut_short(work, state):
        notes = await _carry_over(work, old, state)
        cleared |= attempt.stale_since(work, old, state)
    ending = _ending(work, migration) if migration else None
    if migration and ending:
        stage = advance(migration.stage, ending)
        cleared[marks.MIGRATION] = migration.at(stage, now).as_json()
    await work.server.admin.mark(state.name, cleared)
    work.server.invalidate(state.name)
    return Result(notes=notes)


async def _carry_over(work: Work, old: CollectionState, state: CollectionState) -> tuple[Note, ...]:
    """A switch that a crash cut short: what reached the old side meanwhile is looked after now."""
    count = await late_writes.carry_over(work, old, state)
    if count is None:
        lost = f"Writes that reached {old.name} during the switch have no vectors for {state.name}."
        return (Note("LateWritesLeft", lost, "Promote", warning=True),)
    return (Note("LateWritesCarried", f"{count} late writes went from {old.name} to {state.name}.", "Promote"),)


def _cut_short(work: Work, state: CollectionState) -> CollectionState | None:
    """The other side of a switch to `state` that nobody has looked after yet."""
    return work.observed.state(str(state.marks.switch.get("from"))) if state.marks.switch else None


def _ending(work: Work, migration: Migration) -> Event | None:
    if migration.stage is Stage.PROMOTING:
        return Event.SWITCHED
    if migration.stage is Stage.ROLLING_BACK:
        return Event.SWITCHED if is_watched_again(work, migration) else Event.RETURNED
    return None


def is_watched_again(work: Work, migration: Migration) -> bool:
    """Whether this return is a retry of a migration that had been rolled back: it is as new as the first time."""
    came_from = work.observed.state(migration.source)
    declined = came_from.marks.declined if came_from else None
    return declined is not None and declined.lifted and declined.wish == work.desired.wish


async def set_aliases(work: Work) -> Result:
    """`<alias>-<schemaVersion>` to what serves, `<alias>-next` away."""
    state, identity = work.the_target(), work.desired.identity
    mine = {name: found for name, found in work.observed.states.items() if ours(found, identity)}
    for alias, target in misplaced_aliases(work.desired, work.observed, mine, state).items():
        if target is None:
            await work.server.admin.delete_alias(alias)
        else:
            await work.server.admin.point_alias(alias, target)
    work.server.invalidate()
    return Result()


async def stamp_replaced(work: Work) -> Result:
    """Blue learns since when it does not serve: its retention is counted from here."""
    serving = work.observed.aliases[work.desired.alias]
    state = work.observed.state(serving)
    since = state.marks.migration.stage_since if state and state.marks.migration else 0.0
    # Written by a clock that is behind, the deadline would come early as soon as the clock is set right.
    behind = max(0.0, await seconds_behind(work))
    replaced = Replaced(serving, (since or work.clock.now()) + behind)
    await work.server.admin.mark(work.subject, {marks.REPLACED: replaced.as_json()})
    work.server.invalidate(work.subject)
    return Result()


async def restore_alias(work: Work) -> Result:
    """The alias was deleted or pointed at an unfinished green by somebody: back to what serves."""
    await attempt.point_alias(work, work.desired.alias, work.subject)
    message = f"The alias {work.desired.alias!r} was gone or misplaced; it points at {work.subject} again."
    return Result(notes=(Note("AliasRestored", message, "Restore", warning=True),))


async def lift_fence(work: Work) -> Result:
    """A crash left writers held back: give them their limits again."""
    await attempt.lift_fence(work.server, work.subject)
    message = f"A fence left on {work.subject} by an interrupted switch was lifted."
    return Result(notes=(Note("FenceLifted", message, "Restore", warning=True),))


async def drop_abandoned(work: Work) -> Result:
    """A green whose plan no longer holds: ours, and it has served nobody."""
    name = work.subject
    work.session.stop()
    aliases = await work.server.admin.aliases()
    preview = next_alias(work.desired.alias)
    foreign = sorted(a for a, target in aliases.items() if target == name and a != preview)
    if foreign:
        raise TransientError(
            "StillServing",
            f"{name} is to be dropped, for its plan no longer holds, but the alias {foreign[0]!r} points at it. "
            "Move or delete that alias.",
            retry_after=60.0,
        )
    if aliases.get(preview) == name:
        await work.server.admin.delete_alias(preview)
    await work.server.admin.delete(name)
    work.server.invalidate()
    return Result(notes=(Note("GreenAbandoned", f"{name} was dropped: its plan no longer holds.", "Abandon"),))
