"""Moving the alias so that no acknowledged write is lost, whichever way it moves.

An update that lands on the old side after the last pass, and another to the same point that lands on the new
side after the cut-over, could not be merged. So the last pass must see the old side at rest:

* *quiet first*: when no shard's `op_num` moves from before a pass to right before the cut-over, nothing is
missing;
* else *fence*: strict mode on the old side answers writers 429 for at most `maxFence`, reads go on.

The cut-over is one `create_alias`, read back from every peer. `op_num` is compared once more afterwards: unchanged
proves that nothing was missed; moved means writes that had resolved the alias before it moved, and those are
drained, except for points that the application has touched on the new side since.
"""

from __future__ import annotations

import asyncio
import math

from teal.domain.errors import TransientError
from teal.domain.ledger import RawId
from teal.domain.observed import CollectionState
from teal.domain.schema import next_alias
from teal.domain.writes import WriteMode
from teal.migration.context import SLICE_SECONDS, Context
from teal.migration.copying import copy_pass
from teal.migration.copying.memory import CopyMemory, Touched
from teal.migration.copying.scan import versions_of
from teal.migration.cutover import limits
from teal.migration.cutover.alias import point_alias
from teal.migration.cutover.drain import drained
from teal.migration.cutover.fence import lift_fence, raise_fence, spend_tokens
from teal.migration.cutover.memory import CutoverMemory, RollbackInput
from teal.migration.cutover.notes import note_both_sides, remember_cutover
from teal.migration.cutover.proof import Proof
from teal.qdrant.collection import Quiescence
from teal.qdrant.points import Probe

FENCE_MARGIN = 0.5


async def attempt(
    ctx: Context, old: CollectionState, new: CollectionState, rollback: RollbackInput | None = None
) -> Proof | None:
    """Try to move the alias from `old` to `new`; the proof when it has moved, `None` to be called again.

    `rollback` is given where the alias goes back to a collection that has served before.

    Raises:
        TransientError: not possible right now, and nothing is lost.
    """
    state, copied = ctx.session.part(CutoverMemory), ctx.session.part(CopyMemory)
    if state.since is None:
        state.since = ctx.clock.monotonic()
    await _know_new_side(ctx, state, new, rollback)
    if state.before is None and not copy_pass.is_under_way(ctx):
        state.before = await ctx.server.admin.quiescence(old.name)
    if not await _pass(ctx, rollback, ctx.clock.monotonic() + SLICE_SECONDS):
        return None
    after = await ctx.server.admin.quiescence(old.name)
    quiet = await _at_rest(ctx, state, state.before, after)
    state.before = None
    if quiet or (ctx.writes is WriteMode.DUAL_WRITE and not copied.pass_changes):
        # Whoever writes to both is on the new side already: that the pass had nothing to do is all that it takes.
        return await _cut_over(ctx, state, old, new, after, fenced=None)
    waited = ctx.clock.monotonic() - state.since
    if waited < ctx.options.quiet_wait:
        return None
    if ctx.writes is WriteMode.DUAL_WRITE:
        preview = next_alias(ctx.desired.alias)
        also = preview if ctx.observed.aliases.get(preview) == new.name else new.name
        raise TransientError(
            "NotDualWritten",
            f"spec.migration.writes is DualWrite, but writes go on that reach {old.name} alone. Have the "
            f"application write to {also!r}, too, or use CatchUp.",
        )
    if ctx.options.fence:
        return await _fenced(ctx, state, old, new, rollback)
    # Short, after one that had more to do: what comes after it has to be drained.
    await _pass(ctx, rollback)
    return await _cut_over(ctx, state, old, new, None, fenced=None)


async def _pass(ctx: Context, rollback: RollbackInput | None, until: float = math.inf) -> bool:
    announce = rollback.announce if rollback else None
    return await copy_pass.advance(ctx, until, by_field=ctx.unnumbered_by is not None, announce=announce)


async def _know_new_side(
    ctx: Context, state: CutoverMemory, new: CollectionState, rollback: RollbackInput | None
) -> None:
    """The versions on the new side, while Teal is its only writer: what drains and rollbacks start from."""
    if state.new_side is not None:
        return
    ctx.session.part(Touched).watch()
    seen = await versions_of(ctx, new)
    state.new_side = _on_both(rollback, seen)
    state.all_known = len(state.new_side) == len(seen)


def _on_both(rollback: RollbackInput | None, seen: dict[RawId, int]) -> dict[RawId, int]:
    """Before a rollback the application may have written to the new side alone. Such a point must not count as one
    that both sides have, or the old side would never get it."""
    if rollback is None or rollback.in_step is None:
        return seen
    return {point: version for point, version in seen.items() if rollback.in_step.get(point) == version}


async def _refresh_new_side(ctx: Context, state: CutoverMemory, new: CollectionState) -> None:
    known = state.new_side if state.new_side is not None else {}
    touched = ctx.session.part(Touched)
    points = touched.pending()
    for start in range(0, len(points), 1000):
        page = points[start : start + 1000]
        now = await ctx.server.points.versions(new.name, page, Probe.of(new.schema))
        for point in page:
            known.pop(point, None)
        known.update(now)
        touched.settled(page)


async def _at_rest(
    ctx: Context, state: CutoverMemory, before: Quiescence | None, after: Quiescence | None
) -> bool:
    """Equal `op_num`s on empty queues; without telemetry, two passes in a row that found nothing.

    The second is weaker (a write may come after the last look), so such a cut-over always drains afterwards.
    """
    if before is not None or after is not None:
        return before is not None and after is not None and before.same_as(after)
    changes = ctx.session.part(CopyMemory).pass_changes
    state.still_passes = state.still_passes + 1 if not changes else 0
    return state.still_passes >= 2


async def _fenced(
    ctx: Context, state: CutoverMemory, old: CollectionState, new: CollectionState, rollback: RollbackInput | None
) -> Proof | None:
    """Hold the writers of the old side back, for as long as one short pass and the cut-over take."""
    limit = ctx.options.max_fence
    last = ctx.session.part(CopyMemory).pass_seconds
    estimate = last * 1.5 + FENCE_MARGIN
    if estimate > limit:
        raise TransientError(
            "FenceTooLong",
            f"The last pass took {last:.1f} s, so a fence would hold writers longer "
            f"than promotion.maxFence ({limit:.0f} s). Teal keeps waiting for a quiet moment; raise "
            "maxFence or pause the writers to cut over sooner.",
        )
    clock = ctx.clock
    began = clock.monotonic()
    try:
        await raise_fence(ctx, old)
        async with asyncio.timeout(limit):
            await spend_tokens(ctx, old)
            after = await _pass_at_rest(ctx, state, old, rollback)
            return await _cut_over(ctx, state, old, new, after, fenced=began)
    except TimeoutError:
        state.since = clock.monotonic()
        raise TransientError(
            "FenceExpired",
            f"The fence was lifted after {limit:.0f} s without a cut-over; writers go on and Teal tries again.",
        ) from None
    finally:
        await asyncio.shield(lift_fence(ctx.server, old.name))


async def _pass_at_rest(
    ctx: Context, state: CutoverMemory, old: CollectionState, rollback: RollbackInput | None
) -> Quiescence | None:
    while True:
        before = await ctx.server.admin.quiescence(old.name)
        await _pass(ctx, rollback)
        after = await ctx.server.admin.quiescence(old.name)
        if await _at_rest(ctx, state, before, after):
            return after


async def _cut_over(
    ctx: Context,
    state: CutoverMemory,
    old: CollectionState,
    new: CollectionState,
    rest: Quiescence | None,
    *,
    fenced: float | None,
) -> Proof | None:
    """One `create_alias`, and the evidence that it was in time; `None` if the quiet moment is over already."""
    alias, clock = ctx.desired.alias, ctx.clock
    await _refresh_new_side(ctx, state, new)
    await remember_cutover(ctx, state, old, new, at_rest=rest is not None)
    if rest and fenced is None and not await _still_quiet(ctx, old, rest):
        return None
    await limits.give(ctx, new)
    began = clock.monotonic()
    await point_alias(ctx, alias, new.name, expected=old.name)
    alias_seconds = clock.monotonic() - began
    after = await ctx.server.admin.quiescence(old.name)
    late = await drained(ctx, state, old, new, rest, after)
    if state.drained:
        await note_both_sides(ctx, state, old, new)
    fence_seconds = clock.monotonic() - fenced if fenced is not None else 0.0
    ctx.session.drop(CutoverMemory)
    return Proof(
        mode="Fenced" if fenced is not None else "Quiet" if rest is not None else "Unfenced",
        op_num_before=_numbers(rest),
        op_num_after=_numbers(after),
        late_writes=late,
        alias_millis=round(alias_seconds * 1000, 1),
        fence_millis=round(fence_seconds * 1000, 1),
    )


async def _still_quiet(ctx: Context, old: CollectionState, rest: Quiescence) -> bool:
    if ctx.writes is WriteMode.DUAL_WRITE:
        return True
    now = await ctx.server.admin.quiescence(old.name)
    return now is not None and rest.same_as(now)


def _numbers(found: Quiescence | None) -> tuple[int, ...] | None:
    """The `op_num` of every shard, in a fixed order."""
    return tuple(number for _, number in sorted(found.op_nums.items())) if found else None
