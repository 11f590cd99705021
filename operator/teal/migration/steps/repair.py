"""The bookkeeping around a switch: each is one idempotent write, and each is found again after a crash."""

from __future__ import annotations

from teal.domain.errors import TransientError
from teal.domain.marks import Mark, Migration, Replaced
from teal.domain.marks.table import cleared_on
from teal.domain.observed import CollectionState
from teal.domain.ownership import stage_of
from teal.domain.policy.repairs import misplaced_aliases
from teal.domain.schema import next_alias
from teal.domain.transitions import Event, Stage
from teal.migration.context import Context, Result
from teal.migration.contract import Note
from teal.migration.cutover import fence, late_writes
from teal.migration.cutover.alias import point_alias
from teal.migration.cutover.notes import stale_since
from teal.migration.steps import stages
from teal.migration.steps.clock_skew import seconds_behind


async def finish_cutover(ctx: Context) -> Result:
    """The alias is on `subject`, but its marks do not say so yet."""
    state = ctx.the_subject()
    migration = state.marks.migration
    written: list[Mark] = []
    notes: tuple[Note, ...] = ()
    if old := _cut_short(ctx, state):
        notes = await _carry_over(ctx, old, state)
        written += stale_since(ctx, old, state)
    ending = _ending(ctx, migration) if migration else None
    if ending:
        await stages.write(ctx, state.name, stages.advanced(ctx, ending), *written)
    else:
        await ctx.server.mark(state.name, *written, clear=cleared_on(stage_of(state)))
    return Result(notes=notes)


async def _carry_over(ctx: Context, old: CollectionState, state: CollectionState) -> tuple[Note, ...]:
    """A switch that a crash cut short: what reached the old side meanwhile is looked after now."""
    count = await late_writes.carry_over(ctx, old, state)
    if count is None:
        lost = f"Writes that reached {old.name} during the switch have no vectors for {state.name}."
        return (Note("LateWritesLeft", lost, "Promote", warning=True),)
    return (Note("LateWritesCarried", f"{count} late writes went from {old.name} to {state.name}.", "Promote"),)


def _cut_short(ctx: Context, state: CollectionState) -> CollectionState | None:
    """The other side of a switch to `state` that nobody has looked after yet."""
    return ctx.observed.state(state.marks.cutover_begun.source) if state.marks.cutover_begun else None


def _ending(ctx: Context, migration: Migration) -> Event | None:
    if migration.stage is Stage.PROMOTING:
        return Event.SWITCHED
    if migration.stage is Stage.ROLLING_BACK:
        return Event.SWITCHED if is_watched_again(ctx, migration) else Event.RETURNED
    return None


def is_watched_again(ctx: Context, migration: Migration) -> bool:
    """Whether this return is a retry of a migration that had been rolled back: it is as new as the first time."""
    came_from = ctx.observed.state(migration.source)
    declined = came_from.marks.declined if came_from else None
    return declined is not None and declined.lifted and declined.wish == ctx.desired.wish


async def set_aliases(ctx: Context) -> Result:
    """`<alias>-<schemaVersion>` to what serves, `<alias>-next` away."""
    mine = ctx.mine
    for alias, target in misplaced_aliases(ctx.view).items():
        before = ctx.observed.aliases.get(alias)
        if target is not None:
            await ctx.server.set_alias(alias, target, expected=before, ours=mine)
        elif before is not None:
            await ctx.server.remove_alias(alias, expected=before, ours=mine)
    return Result()


async def stamp_replaced(ctx: Context) -> Result:
    """Blue learns since when it does not serve: its retention is counted from here."""
    serving = ctx.observed.aliases[ctx.desired.alias]
    state = ctx.observed.state(serving)
    since = state.marks.migration.stage_since if state and state.marks.migration else 0.0
    # Written by a clock that is behind, the deadline would come early as soon as the clock is set right.
    behind = max(0.0, await seconds_behind(ctx))
    replaced = Replaced(serving, (since or ctx.clock.now()) + behind)
    await ctx.server.mark(ctx.subject, replaced)
    return Result()


async def restore_alias(ctx: Context) -> Result:
    """The alias was deleted or pointed at an unfinished green by somebody: back to what serves."""
    alias = ctx.desired.alias
    await point_alias(ctx, alias, ctx.subject, expected=ctx.observed.aliases.get(alias))
    message = f"The alias {alias!r} was gone or misplaced; it points at {ctx.subject} again."
    return Result(notes=(Note("AliasRestored", message, "Restore", warning=True),))


async def lift_fence(ctx: Context) -> Result:
    """A crash left writers held back: give them their limits again."""
    await fence.lift_fence(ctx.server, ctx.subject)
    message = f"A fence left on {ctx.subject} by an interrupted switch was lifted."
    return Result(notes=(Note("FenceLifted", message, "Restore", warning=True),))


async def drop_abandoned(ctx: Context) -> Result:
    """A green whose plan no longer holds: ours, and it has served nobody."""
    name = ctx.subject
    ctx.session.stop()
    aliases = await ctx.server.admin.aliases()
    preview = next_alias(ctx.desired.alias)
    foreign = sorted(a for a, target in aliases.items() if target == name and a != preview)
    if foreign:
        raise TransientError(
            "StillServing",
            f"{name} is to be dropped, for its plan no longer holds, but the alias {foreign[0]!r} points at it. "
            "Move or delete that alias.",
            retry_after=60.0,
        )
    if aliases.get(preview) == name:
        await ctx.server.remove_alias(preview, expected=name, ours=ctx.mine)
    await ctx.server.delete(name)
    return Result(notes=(Note("GreenAbandoned", f"{name} was dropped: its plan no longer holds.", "Abandon"),))
