"""Moving the alias so that no acknowledged write is lost, whichever way it moves.

An update that lands on the old side after the last pass, and another to the same point that lands on the new side
after the cut-over, could not be merged. So the last pass must see the old side at rest:

1. A barrier, the numbers of all replicas, a pass, a barrier: if `op_num` has risen by the barriers alone, the old
   side was *quiet*, and no pass under the fence is needed.
2. The *fence*: unless `promotion.fence` is `Never`, writers are held back, if only for the instant of the move.
   Seen on every peer; the requests that were under way have ended; a barrier; the numbers; the last pass, if it
   was not quiet until here; the numbers have not moved.
3. What both sides hold is noted durably. One `create_alias`, until every peer shows it, and until the requests
   that had resolved the alias before have met the fence. The fence is lifted.
4. A barrier, and the numbers: only now it is known whether anything else was applied since step 1 or 2. If so,
   late writes are copied, except to points that the application has written on the new side since.

If the alias request stays without an answer until `maxFence`, the old side is named again through the same peer
before the fence is lifted (`alias.Move`, `take_back`). The time is checked before every step that cannot be
undone, and a watchdog lifts the fence if the event loop is blocked.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from teal.domain.errors import TransientError
from teal.domain.marks import CutoverBegun
from teal.domain.observed import CollectionState
from teal.domain.rest import Numbers, stood_still, why_not_at_rest
from teal.domain.schema import next_alias
from teal.domain.stall import Limits, Way, way_after_pass
from teal.domain.writes import WriteMode
from teal.migration.context import SLICE_SECONDS, Context
from teal.migration.cutover import limits, take_back
from teal.migration.cutover.alias import Move
from teal.migration.cutover.fence import hold, lift_fence, prepare_fence, raise_fence, settle
from teal.migration.cutover.looks import Looks
from teal.migration.cutover.proof import Mode, Proof
from teal.migration.cutover.too_long import fence_too_long
from teal.migration.cutover.watchdog import Watchdog
from teal.migration.sync.catching_up import CatchUp
from teal.qdrant.barrier import Barriers

UNFENCED_SECONDS = 10.0
"""How long an alias request without an answer is repeated, where no fence limits it."""


@dataclass
class Sides:
    """The two collections of a cut-over, and how it is carried out."""

    ctx: Context
    old: CollectionState
    new: CollectionState
    catch_up: CatchUp
    looks: Looks
    barriers: Barriers
    noted: bool = False

    def __post_init__(self) -> None:
        alias = self.ctx.desired.alias
        self.move = Move(self.ctx, alias, self.old.name, self.new.name, self.barriers.peers)


async def attempt(ctx: Context, old: CollectionState, new: CollectionState, catch_up: CatchUp) -> Proof | None:
    """Try to move the alias from `old` to `new`; the proof when it has moved, `None` to be called again.

    Raises:
        TransientError: not possible right now, and nothing is lost.
    """
    looks = ctx.session.part(Looks)
    if looks.since is None:
        looks.since = ctx.clock.monotonic()
    sides = Sides(ctx, old, new, catch_up, looks, await looks.barriers_on(ctx, old))
    if new.marks.cutover_begun:
        await take_back.settle_open_cutover(ctx, sides.move)
        return None
    until = ctx.clock.monotonic() + SLICE_SECONDS
    if not await catch_up.know_new_side(until):
        return None
    if not looks.begun and not catch_up.under_way:
        await looks.before_pass(sides.barriers)
    if not await catch_up.advance(until):
        return None
    quiet = await looks.after_pass(sides.barriers, found_nothing=not catch_up.changes) and catch_up.exact
    if ctx.writes is WriteMode.DUAL_WRITE:
        return await _dual(sides, quiet=quiet)
    return await _carry_out(sides, quiet=quiet)


async def _carry_out(sides: Sides, *, quiet: bool) -> Proof | None:
    """Move the alias in the way that this moment allows, if there is one."""
    ctx, looks = sides.ctx, sides.looks
    match _way(sides, quiet=quiet):
        case Way.WAIT:
            return None
        case Way.TOO_LONG:
            raise fence_too_long(ctx, sides.catch_up.seconds)
        case Way.UNFENCED:
            # Short, after one that had more to do: what comes after it has to be drained.
            looks.base = looks.latest
            await sides.catch_up.advance()
            return await _unfenced(sides, "Unfenced")
        case Way.QUIET if not ctx.options.fence:
            return await _unfenced(sides, "Quiet")
        case _:
            return await _fenced(sides, quiet=quiet)


def limits_of(ctx: Context) -> Limits:
    """What the resource allows."""
    options = ctx.options
    return Limits(options.fence, options.quiet_wait, options.max_stall, options.max_fence)


def _way(sides: Sides, *, quiet: bool) -> Way:
    looks = sides.looks
    return way_after_pass(
        quiet=quiet,
        pass_seconds=sides.catch_up.seconds,
        waited=sides.ctx.clock.monotonic() - (looks.since or 0.0),
        busy_looks=looks.busy,
        limits=limits_of(sides.ctx),
    )


async def _dual(sides: Sides, *, quiet: bool) -> Proof | None:
    """Whoever writes to both is on the new side already: that the pass had nothing to do is all that it takes."""
    ctx = sides.ctx
    if quiet or not sides.catch_up.changes:
        return await _unfenced(sides, "Quiet")
    if ctx.clock.monotonic() - (sides.looks.since or 0.0) < ctx.options.quiet_wait:
        return None
    preview = next_alias(ctx.desired.alias)
    also = preview if ctx.observed.aliases.get(preview) == sides.new.name else sides.new.name
    raise TransientError(
        "NotDualWritten",
        f"spec.migration.writes is DualWrite, but writes go on that reach {sides.old.name} alone. Have the "
        f"application write to {also!r}, too, or use CatchUp.",
    )


# With the fence


async def _fenced(sides: Sides, *, quiet: bool) -> Proof:
    """Hold the writers of the old side back: for the instant of the move, or for a short pass and the move."""
    ctx = sides.ctx
    watchdog = Watchdog(ctx.server, ctx.clock, sides.old, ctx.options.max_fence)
    outcome: Outcome | None = None
    try:
        await prepare_fence(ctx, sides.old, sides.barriers)
        watchdog.begin()
        async with asyncio.timeout(ctx.options.max_fence):
            await raise_fence(ctx, sides.old, sides.barriers)
            held = await hold(ctx, sides.old, sides.barriers)
            base, mode = await _at_rest(sides, quiet=quiet)
            before = await _note(sides)
        watchdog.check()
        outcome = await _move(sides, watchdog.deadline, before)
    except TimeoutError:
        sides.looks.since = ctx.clock.monotonic()
        raise TransientError(
            "FenceExpired",
            f"The fence was lifted after {ctx.options.max_fence:.0f} s without a cut-over; writers go on and Teal "
            "tries again.",
        ) from None
    finally:
        await asyncio.shield(_lift(sides, watchdog))
        if outcome is None:
            sides.looks.begun = False
            await _forget_notes(sides)
    if not outcome.moved:
        await take_back.carry_back(ctx, sides.move, outcome.new_side, outcome.before)
        raise _unanswered(sides)
    return await _prove(sides, base, mode, outcome, fence_seconds=watchdog.stood, held=held)


async def _at_rest(sides: Sides, *, quiet: bool) -> tuple[Numbers | None, Mode]:
    """The numbers from which the proof counts, with all that was applied until then on the new side."""
    looks, barriers = sides.looks, sides.barriers
    base = await barriers.look()
    if quiet and _unmoved_since_quiet(looks, base):
        return looks.base, "Quiet"
    still = 0
    while True:
        before = base
        await sides.catch_up.advance()
        base = await barriers.look()
        if before is None and base is None:
            still = 0 if sides.catch_up.changes else still + 1
            if still:
                return None, "Fenced"
        elif stood_still(before, base) and sides.catch_up.exact:
            return before, "Fenced"


def _unmoved_since_quiet(looks: Looks, now: Numbers | None) -> bool:
    if looks.base is None or looks.base.missing:
        return False
    return why_not_at_rest(looks.base, now) is None


async def _lift(sides: Sides, watchdog: Watchdog) -> None:
    try:
        await lift_fence(sides.ctx.server, sides.old.name, watchdog.end)
    finally:
        watchdog.end()


# Without the fence


async def _unfenced(sides: Sides, mode: Mode) -> Proof | None:
    """Move the alias while writers go on; `None` if the quiet moment is over already."""
    ctx, looks = sides.ctx, sides.looks
    before = await _note(sides)
    checked = mode == "Quiet" and ctx.writes is not WriteMode.DUAL_WRITE
    if checked and looks.latest is not None and not stood_still(looks.latest, await sides.barriers.look()):
        await _forget_notes(sides)
        return None
    outcome = await _move(sides, ctx.clock.monotonic() + UNFENCED_SECONDS, before)
    if not outcome.moved:
        await take_back.carry_back(ctx, sides.move, outcome.new_side, outcome.before)
        raise _unanswered(sides)
    return await _prove(sides, looks.base, mode, outcome)


# Both


@dataclass
class Outcome:
    """What became of the alias. `new_side` and `before`: how the new side was looked at right before."""

    alias_seconds: float
    new_side: Barriers | None
    before: Numbers | None
    moved: bool = True


async def _note(sides: Sides) -> tuple[Barriers, Numbers | None]:
    """Durable before the alias moves: what both sides hold. And the numbers of the new side, in this process."""
    ctx = sides.ctx
    sides.noted = True
    await limits.give(ctx, sides.new)
    await ctx.server.mark(sides.new.name, *await sides.catch_up.notes(), CutoverBegun(sides.old.name))
    new_side = Barriers(ctx.server.admin, sides.new.name, sides.barriers.peers)
    return new_side, await new_side.look()


async def _forget_notes(sides: Sides) -> None:
    """Where no request is open that may still move the alias."""
    if not sides.noted or sides.move.open:
        return
    sides.noted = False
    await sides.ctx.server.mark(sides.new.name, clear=(CutoverBegun.KEY,))


async def _move(sides: Sides, until: float, before: tuple[Barriers, Numbers | None]) -> Outcome:
    clock, move = sides.ctx.clock, sides.move
    began = clock.monotonic()
    moved = await move.forwards(until)
    if moved:
        seconds = clock.monotonic() - began
        # Requests that had resolved the alias before it moved may not have met the fence yet.
        await settle(sides.ctx)
        return Outcome(seconds, *before)
    await move.back(clock.monotonic() + take_back.BACK_SECONDS)
    return Outcome(clock.monotonic() - began, *before, moved=False)


async def _prove(
    sides: Sides,
    base: Numbers | None,
    mode: Mode,
    outcome: Outcome,
    *,
    fence_seconds: float = 0.0,
    held: bool = False,
) -> Proof:
    """A barrier and a count; where they prove nothing, late writes are looked for."""
    last, why = await _count(sides, base)
    trusted = sides.catch_up.by_field
    late = await sides.catch_up.drain() if why is not None else await sides.catch_up.hand_over()
    sides.ctx.session.drop(Looks)
    return Proof(
        mode=mode,
        unproved=why,
        op_num_before=_numbers(base),
        op_num_after=_numbers(last),
        barriers=last.barriers - base.barriers if last and base else 0,
        barrier_passed=held or mode == "Quiet",
        late_writes=late.carried,
        conflicts=late.conflicts,
        alias_millis=round(outcome.alias_seconds * 1000, 1),
        fence_millis=round(fence_seconds * 1000, 1),
        trusted_field=trusted,
    )


async def _count(sides: Sides, base: Numbers | None) -> tuple[Numbers | None, str | None]:
    """The numbers after a last barrier, and why they prove nothing; `None` if they do."""
    if sides.ctx.writes is WriteMode.DUAL_WRITE:
        return None, "the application writes to both collections"
    try:
        await sides.barriers.barrier()
        last = await sides.barriers.look()
    except TransientError as error:
        return None, f"the old collection could not be asked afterwards ({error.reason})"
    return last, why_not_at_rest(base, last)


def _unanswered(sides: Sides) -> TransientError:
    return TransientError(
        "AliasNotOnAllPeers",
        f"The alias {sides.ctx.desired.alias!r} was not on {sides.new.name!r} on every peer in time; it is on "
        f"{sides.old.name!r} again, and Teal tries once more.",
    )


def _numbers(found: Numbers | None) -> tuple[int, ...] | None:
    """The `op_num` of every replica, in a fixed order."""
    return tuple(number for _, number in sorted(found.op_nums.items())) if found else None
