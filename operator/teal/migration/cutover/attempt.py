"""Moving the alias so that no acknowledged write is lost, whichever way it moves.

An update that lands on the old side after the last pass, and another to the same point that lands on the new
side after the switch, could not be merged. So the last pass must see the old side at rest:

* *quiet first*: when no shard's `op_num` moves from before a pass to right before the switch, nothing is missing;
* else *fence*: strict mode on the old side answers writers 429 for at most `maxFence`, reads go on.

The switch is one `create_alias`, read back from every peer. `op_num` is compared once more afterwards: unchanged
proves that nothing was missed; moved means writes that had resolved the alias before it moved, and those are
drained, except for points that the application has touched on the new side since.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from teal.domain import marks
from teal.domain.carry import UNLIMITED
from teal.domain.errors import TransientError, UnknownOutcomeError
from teal.domain.ledger import RawId, checkpoint_of, highest
from teal.domain.marks import Fence
from teal.domain.observed import CollectionState
from teal.domain.plan import Strategy
from teal.domain.schema import next_alias
from teal.domain.writes import WriteMode
from teal.migration.context import SLICE_SECONDS, Context
from teal.migration.copying import conditional_writes, copy_pass
from teal.migration.copying.scan import versions_of
from teal.migration.copying.transform import same_encoder, stale_between, transform_for
from teal.qdrant import wire
from teal.qdrant.collection import Quiescence
from teal.qdrant.points import Probe
from teal.qdrant.pool import Server

FENCE_MARGIN = 0.5
PEER_WAIT = 15.0
TOKENS_PER_SHARD = 4
DRAINS = 20


@dataclass
class CutOver:
    """One attempt's memory: it lives in the session and may be lost, which only costs another attempt."""

    since: float
    before: Quiescence | None = None
    still_passes: int = 0
    new_side: dict[RawId, int] | None = None
    drained: bool = False
    dirty: set[RawId] = field(default_factory=set)
    all_known: bool = True
    highest: dict[str, int] = field(default_factory=dict)


async def attempt(ctx: Context, old: CollectionState, new: CollectionState) -> dict[str, Any] | None:
    """Try to move the alias from `old` to `new`; the proof when it has moved, `None` to be called again.

    Raises:
        TransientError: not possible right now, and nothing is lost.
    """
    state = _state(ctx)
    await _know_new_side(ctx, state, new)
    if state.before is None and ctx.session.running_pass is None:
        state.before = await ctx.server.admin.quiescence(old.name)
    by_field = ctx.unnumbered_by is not None
    if not await copy_pass.advance(ctx, ctx.clock.monotonic() + SLICE_SECONDS, by_field=by_field):
        return None
    after = await ctx.server.admin.quiescence(old.name)
    quiet = await _at_rest(ctx, state, state.before, after)
    state.before = None
    if quiet or (ctx.writes is WriteMode.DUAL_WRITE and not ctx.session.last_pass_changes):
        # Whoever writes to both is on the new side already: that the pass had nothing to do is all that it takes.
        return await _switch(ctx, state, old, new, after, fenced=None)
    waited = ctx.clock.monotonic() - state.since
    if waited < ctx.options.quiet_wait:
        return None
    if ctx.writes is WriteMode.DUAL_WRITE:
        raise TransientError(
            "NotDualWritten",
            f"spec.migration.writes is DualWrite, but writes go on that reach {old.name} alone. Have the "
            f"application write to {next_alias(ctx.desired.alias)!r}, too, or use CatchUp.",
        )
    if ctx.options.fence:
        return await _fenced(ctx, state, old, new)
    # Short, after one that had more to do: what comes after it has to be drained.
    await copy_pass.advance(ctx, by_field=by_field)
    return await _switch(ctx, state, old, new, None, fenced=None)


def _state(ctx: Context) -> CutOver:
    found = ctx.session.cutover.get("state")
    if not isinstance(found, CutOver):
        found = ctx.session.cutover["state"] = CutOver(since=ctx.clock.monotonic())
    return found


async def _know_new_side(ctx: Context, state: CutOver, new: CollectionState) -> None:
    """The versions on the new side, while Teal is its only writer: what drains and rollbacks start from."""
    if state.new_side is not None:
        return
    ctx.session.touched = state.dirty
    seen = await versions_of(ctx, new)
    state.new_side = _on_both(ctx, seen)
    state.all_known = len(state.new_side) == len(seen)


def _on_both(ctx: Context, seen: dict[RawId, int]) -> dict[RawId, int]:
    """On the way back the application may have written to the new side alone: such a point is not taken for one
    that both sides have, or the old side would never get it."""
    memory = ctx.in_step
    if ctx.plan.strategy is not Strategy.SWITCH_BACK or memory is None or memory.known_retained is None:
        return seen
    return {point: version for point, version in seen.items() if memory.known_retained.get(point) == version}


async def _refresh_new_side(ctx: Context, state: CutOver, new: CollectionState) -> None:
    known = state.new_side if state.new_side is not None else {}
    dirty = list(state.dirty)
    for start in range(0, len(dirty), 1000):
        page = dirty[start : start + 1000]
        now = await ctx.server.points.versions(new.name, page, Probe.of(new.schema))
        for point in page:
            known.pop(point, None)
        known.update(now)
    state.dirty.clear()


async def _at_rest(ctx: Context, state: CutOver, before: Quiescence | None, after: Quiescence | None) -> bool:
    """Equal `op_num`s on empty queues; without telemetry, two passes in a row that found nothing.

    The second is weaker (a write may come after the last look), so such a switch always drains afterwards.
    """
    if before is not None or after is not None:
        return before is not None and after is not None and before.same_as(after)
    state.still_passes = state.still_passes + 1 if not ctx.session.last_pass_changes else 0
    return state.still_passes >= 2


async def _fenced(
    ctx: Context, state: CutOver, old: CollectionState, new: CollectionState
) -> dict[str, Any] | None:
    """Hold the writers of the old side back, for as long as one short pass and the switch take."""
    limit = ctx.options.max_fence
    estimate = ctx.session.last_pass_seconds * 1.5 + FENCE_MARGIN
    if estimate > limit:
        raise TransientError(
            "FenceTooLong",
            f"The last pass took {ctx.session.last_pass_seconds:.1f} s, so a fence would hold writers longer "
            f"than promotion.maxFence ({limit:.0f} s). Teal keeps waiting for a quiet moment; raise "
            "maxFence or pause the writers to switch sooner.",
        )
    clock = ctx.clock
    began = clock.monotonic()
    try:
        await _raise_fence(ctx, old)
        async with asyncio.timeout(limit):
            await _spend_tokens(ctx, old)
            after = await _pass_at_rest(ctx, state, old)
            return await _switch(ctx, state, old, new, after, fenced=began)
    except TimeoutError:
        state.since = clock.monotonic()
        raise TransientError(
            "FenceExpired",
            f"The fence was lifted after {limit:.0f} s without a switch; writers go on and Teal tries again.",
        ) from None
    finally:
        await asyncio.shield(lift_fence(ctx.server, old.name))


async def _pass_at_rest(ctx: Context, state: CutOver, old: CollectionState) -> Quiescence | None:
    while True:
        before = await ctx.server.admin.quiescence(old.name)
        await copy_pass.advance(ctx, by_field=ctx.unnumbered_by is not None)
        after = await ctx.server.admin.quiescence(old.name)
        if await _at_rest(ctx, state, before, after):
            return after


async def _raise_fence(ctx: Context, old: CollectionState) -> None:
    """First the mark that says how to lift it, then the fence: a crash in between leaves nothing to lift."""
    strict = old.config.get("strict_mode_config") or {}
    fence = Fence(ctx.clock.now(), bool(strict.get("enabled")), strict.get("write_rate_limit"))
    await ctx.server.admin.mark(old.name, {marks.FENCE: fence.as_json()})
    await ctx.server.admin.patch(old.name, {"strict_mode_config": {"enabled": True, "write_rate_limit": 1}})


async def _spend_tokens(ctx: Context, old: CollectionState) -> None:
    """The limit lets one single-point write a minute through on each shard: use it up with deletes of nobody."""
    shards = old.schema.shard_number or 1
    for _ in range(1 if shards == 1 else shards * TOKENS_PER_SHARD):
        with contextlib.suppress(TransientError):
            await ctx.server.points.delete(old.name, [wire.raw_id(uuid4())])


async def lift_fence(server: Server, name: str) -> None:
    """Give a collection its own strict mode back; called on every way out, and again after a crash."""
    state = await server.admin.collection(name)
    if state is None or state.marks.fence is None:
        return
    fence = state.marks.fence
    own = {"enabled": fence.enabled, "write_rate_limit": fence.write_rate_limit or UNLIMITED}
    await server.admin.patch(name, {"strict_mode_config": own})
    await server.admin.mark(name, {marks.FENCE: None})
    server.invalidate(name)


async def _switch(
    ctx: Context,
    state: CutOver,
    old: CollectionState,
    new: CollectionState,
    rest: Quiescence | None,
    *,
    fenced: float | None,
) -> dict[str, Any] | None:
    """One `create_alias`, and the evidence that it was in time; `None` if the quiet moment is over already."""
    alias, clock = ctx.desired.alias, ctx.clock
    await _refresh_new_side(ctx, state, new)
    await _remember_switch(ctx, state, old, new, at_rest=rest is not None)
    if (await ctx.server.admin.aliases()).get(alias) != old.name:
        raise TransientError("AliasMoved", f"The alias {alias!r} no longer points at {old.name!r}; looking again.")
    if rest and fenced is None and not await _still_quiet(ctx, old, rest):
        return None
    began = clock.monotonic()
    await point_alias(ctx, alias, new.name)
    alias_seconds = clock.monotonic() - began
    after = await ctx.server.admin.quiescence(old.name)
    late = await _drained(ctx, state, old, new, rest, after)
    if state.drained:
        await ctx.server.admin.mark(new.name, _in_step(ctx, state, old, new))
    fence_seconds = clock.monotonic() - fenced if fenced is not None else 0.0
    ctx.session.cutover.clear()
    return {
        "switch": "Fenced" if fenced is not None else "Quiet" if rest is not None else "Unfenced",
        "opNumBefore": _numbers(rest),
        "opNumAfter": _numbers(after),
        "lateWrites": late,
        "aliasMillis": round(alias_seconds * 1000, 1),
        "fenceMillis": round(fence_seconds * 1000, 1),
    }


async def _still_quiet(ctx: Context, old: CollectionState, rest: Quiescence) -> bool:
    if ctx.writes is WriteMode.DUAL_WRITE:
        return True
    now = await ctx.server.admin.quiescence(old.name)
    return now is not None and rest.same_as(now)


async def _remember_switch(
    ctx: Context, state: CutOver, old: CollectionState, new: CollectionState, *, at_rest: bool
) -> None:
    """Both sides' versions as digests, durably: rolling back, staying in step and a crash right here need them."""
    if ctx.writes is not WriteMode.DUAL_WRITE and new.one_sequence and state.all_known:
        state.highest[new.name] = highest(state.new_side or {})
    if at_rest and old.one_sequence:
        state.highest[old.name] = highest(ctx.session.the_ledger.versions)
    written = {**_in_step(ctx, state, old, new), marks.SWITCH: {"from": old.name}}
    await ctx.server.admin.mark(new.name, written)


def _in_step(ctx: Context, state: CutOver, old: CollectionState, new: CollectionState) -> dict[str, Any]:
    """The marks that say at which versions both sides hold the same."""
    in_step = {
        "here": checkpoint_of(state.new_side or {}, state.highest.get(new.name)),
        "there": checkpoint_of(ctx.session.the_ledger.versions, state.highest.get(old.name)),
    }
    return {
        marks.about(marks.IN_STEP, old.name): in_step,
        marks.about(marks.CARRIED, old.name): None,
        **stale_since(ctx, old, new),
    }


def stale_since(ctx: Context, old: CollectionState, new: CollectionState) -> dict[str, Any]:
    """The mark that says whose vector on `old` may be older than its text; none where vectors are copied."""
    if same_encoder(old.schema, new.schema):
        return {}
    known = stale_between(new, old.name) | ctx.session.lately[old.name].sieve(ctx.clock.monotonic())
    return {marks.about(marks.STALE, old.name): known.as_json()}


async def point_alias(ctx: Context, alias: str, target: str) -> None:
    """Point `alias` at `target` and return when every peer shows it. A lost answer is looked up, not assumed."""
    with contextlib.suppress(UnknownOutcomeError):
        await ctx.server.admin.point_alias(alias, target)
    deadline = ctx.clock.monotonic() + PEER_WAIT
    while True:
        shown = {peer: found.get(alias) for peer, found in (await ctx.server.admin.aliases_by_peer()).items()}
        if all(name == target for name in shown.values()):
            ctx.server.invalidate()
            return
        if ctx.clock.monotonic() > deadline:
            lagging = ", ".join(sorted(peer for peer, name in shown.items() if name != target))
            raise TransientError(
                "AliasNotOnAllPeers", f"The alias {alias!r} is not on {target!r} yet at {lagging}."
            )
        await ctx.clock.sleep(0.05)


async def _drained(
    ctx: Context,
    state: CutOver,
    old: CollectionState,
    new: CollectionState,
    rest: Quiescence | None,
    after: Quiescence | None,
) -> int:
    """Drain until the old side is at rest; how many writes came late. Nothing to do where none can have come."""
    if rest and after and rest.same_as(after):
        return 0
    if ctx.writes is WriteMode.DUAL_WRITE:
        await _note_both_sides(ctx, state, old)
        return 0
    late = 0
    for _ in range(DRAINS):
        late += await _drain(ctx, state, old, new)
        now = await ctx.server.admin.quiescence(old.name)
        if now is None or (after is not None and now.same_as(after)):
            break
        after = now
    return late


async def _note_both_sides(ctx: Context, state: CutOver, old: CollectionState) -> None:
    """What the application wrote to both since the last pass is in step, however a rollback may look at it."""
    ledger, seen = ctx.session.the_ledger, await versions_of(ctx, old)
    ledger.record(ledger.changed(seen))
    ledger.forget([point for point in ledger.versions if point not in seen])
    state.drained = True


async def _drain(ctx: Context, state: CutOver, old: CollectionState, new: CollectionState) -> int:
    """Carry over what reached the old side too late, unless the application has touched the point since."""
    ledger, seen = ctx.session.the_ledger, await versions_of(ctx, old)
    moved = ledger.changed(seen)
    gone = [p for p in ledger.versions if p not in seen]
    if not moved and not gone:
        return 0
    state.drained = True
    known = state.new_side if state.new_side is not None else {}
    found = await ctx.server.points.fetch(old.name, list(moved))
    points = await transform_for(ctx)(found)
    read = wire.as_read(found, moved)
    put = await conditional_writes.write(ctx.server.points, new, points, known)
    known.update(put.settled)
    # Where the new side was touched it has won: that is as settled as what is carried over.
    ledger.record({point.id: read[point.id] for point in points})
    vanished = await conditional_writes.delete(ctx.server.points, new, gone, known)
    for point in vanished:
        known.pop(point, None)
    ledger.forget(gone)
    return len(put.written) + len(vanished)


def _numbers(found: Quiescence | None) -> list[int] | None:
    """The `op_num` of every shard, in a fixed order."""
    return [number for _, number in sorted(found.op_nums.items())] if found else None
