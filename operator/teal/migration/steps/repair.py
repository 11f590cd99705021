"""Repairs around a cut-over: each is an idempotent write, and the policy finds again what a crash left undone."""

from __future__ import annotations

from teal.domain.marks import Mark, Migration, Replaced
from teal.domain.marks.table import cleared_on
from teal.domain.observed import CollectionState
from teal.domain.ownership import stage_of
from teal.domain.plan import same_encoder
from teal.domain.policy.repairs import misplaced_aliases
from teal.domain.schema import next_alias
from teal.domain.transitions import Event, Stage
from teal.migration.context import Context, Result
from teal.migration.contract import Note
from teal.migration.cutover import fence, take_back
from teal.migration.cutover.alias import point_alias
from teal.migration.steps import stages
from teal.migration.steps.clock_skew import seconds_behind
from teal.migration.sync.catching_up import stale_since
from teal.migration.sync.memory import PairMemories
from teal.migration.sync.pairs import Pair
from teal.migration.sync.rounds import keep
from teal.qdrant.removal import Removal


async def finish_cutover(ctx: Context) -> Result:
    """The alias points at `subject`, but its marks do not say so yet."""
    state = ctx.the_subject()
    migration = state.marks.migration
    written: list[Mark] = []
    notes: tuple[Note, ...] = ()
    if old := _cut_short(ctx, state):
        late = await _carry_over(ctx, old, state)
        if late is None:
            return Result(detail="looking for writes that came late")
        notes = (late,)
        written += stale_since(ctx, old, state)
    ending = _ending(ctx, migration) if migration else None
    if ending:
        await stages.write(ctx, state.name, stages.advanced(ctx, ending), *written)
    else:
        await ctx.server.mark(state.name, *written, clear=cleared_on(stage_of(state)))
    return Result(notes=notes)


async def _carry_over(ctx: Context, old: CollectionState, state: CollectionState) -> Note | None:
    """A crash interrupted a cut-over: copy the writes that had reached the old side to the new one.

    `None` when there was not enough time. The notes from right before the alias moved say what came later.
    """
    there = None if same_encoder(old, state) else await ctx.encoders.of(old)
    pair = Pair(state, old, there, ctx.desired.text_field)
    memory = ctx.session.part(PairMemories).of(state.name, old.name)
    if not await keep(ctx, pair, memory, ctx.until):
        return None
    text = (
        f"After an interrupted cut-over, {memory.to_serving} writes that had reached {old.name} were copied to "
        f"{state.name}"
    )
    left = len(memory.uncarried.get(old.name, ()))
    if left:
        lost = f"{text}; {left} could not be copied: {memory.reason}."
        return Note("LateWritesLeft", lost, "Promote", warning=True)
    return Note("LateWritesCarried", f"{text}.", "Promote")


def _cut_short(ctx: Context, state: CollectionState) -> CollectionState | None:
    """The old side of a cut-over to `state` that was interrupted and not finished yet."""
    return ctx.observed.state(state.marks.cutover_begun.source) if state.marks.cutover_begun else None


def _ending(ctx: Context, migration: Migration) -> Event | None:
    if migration.stage is Stage.PROMOTING:
        return Event.CUT_OVER
    if migration.stage is Stage.ROLLING_BACK:
        return Event.CUT_OVER if is_watched_again(ctx, migration) else Event.ROLLED_BACK
    return None


def is_watched_again(ctx: Context, migration: Migration) -> bool:
    """Whether this rollback is the retry of a migration that had been rolled back: then it is watched again."""
    came_from = ctx.observed.state(migration.source)
    declined = came_from.marks.declined if came_from else None
    return declined is not None and declined.lifted and declined.wish == ctx.desired.wish


async def set_aliases(ctx: Context) -> Result:
    """Point `<alias>-<schemaVersion>` at the serving collection, remove `<alias>-next`."""
    for alias, target in misplaced_aliases(ctx.view).items():
        before = ctx.observed.aliases.get(alias)
        if target is not None:
            await ctx.server.set_alias(alias, target, expected=before, ours=ctx.mine)
        elif before is not None:
            await ctx.server.remove_alias(alias, expected=before, ours=ctx.mine)
    return Result()


async def stamp_replaced(ctx: Context) -> Result:
    """Write on blue when it was replaced: its retention begins then."""
    serving = ctx.observed.aliases[ctx.desired.alias]
    state = ctx.observed.state(serving)
    since = state.marks.migration.stage_since if state and state.marks.migration else 0.0
    # If Teal's clock is behind, its time would end the retention early once the clock is corrected.
    behind = max(0.0, await seconds_behind(ctx))
    replaced = Replaced(serving, (since or ctx.clock.now()) + behind)
    await ctx.server.mark(ctx.subject, replaced)
    return Result()


async def restore_alias(ctx: Context) -> Result:
    """Somebody deleted the alias or pointed it at an unfinished green: point it at `subject` again."""
    alias = ctx.desired.alias
    await point_alias(ctx, alias, ctx.subject, expected=ctx.observed.aliases.get(alias))
    message = f"The alias {alias!r} was missing or moved by somebody; it points at {ctx.subject} again."
    return Result(notes=(Note("AliasRestored", message, "Restore", warning=True),))


async def lift_left_fence(ctx: Context) -> Result:
    """A crash left a fence, of a cut-over or a retirement: lift it, so that writers are no longer held back.

    An alias request of that process may still be open; it is settled first, as far as that is possible.
    """
    try:
        await take_back.settle_under_fence(ctx, ctx.the_subject())
    finally:
        await fence.lift_fence(ctx.server, ctx.subject)
    message = f"A fence that an interrupted cut-over or retirement had left on {ctx.subject} was lifted."
    return Result(notes=(Note("FenceLifted", message, "Restore", warning=True),))


async def drop_abandoned(ctx: Context) -> Result:
    """Drop a green whose plan no longer holds: ours, and it has never served."""
    name = ctx.subject
    ctx.session.stop()
    removal = Removal(
        name,
        own=(next_alias(ctx.desired.alias),),
        ours=ctx.mine,
        reason="StillServing",
        because=f"The plan of {name} no longer holds, but it is not dropped.",
    )
    await removal.carry_out(ctx.server)
    return Result(notes=(Note("GreenAbandoned", f"{name} was dropped: its plan no longer holds.", "Abandon"),))
