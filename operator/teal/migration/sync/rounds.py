"""Both live revisions stay in step, for clients that move with their own deployment.

From the cut-over until its retention ends, the retained collection can still be written to by
`<alias>-<schemaVersion>`, and a rollback wants it complete. So at intervals both sides are compared, and what
changed on one is written to the other, with the other's encoder where it differs. A pair whose `op_num`s have
not moved since the last round is not compared again, and a round that took long is followed by a long pause:
staying in step must not cost more than a twentieth of the time.
"""

from __future__ import annotations

import math

from teal.domain.buckets import buckets_for
from teal.domain.in_step import Move, OneWay
from teal.domain.rest import Numbers, stood_still
from teal.migration.context import Context
from teal.migration.copying.circumstances import barriers_on
from teal.migration.copying.ledgers import Ledgers
from teal.migration.copying.scratch import ScratchLostError
from teal.migration.sync.memory import PairMemory
from teal.migration.sync.notes import OpenPoints, noted_between
from teal.migration.sync.pairs import Pair
from teal.migration.sync.round import Round
from teal.migration.sync.write_ahead import WriteAheadLog

PAUSE_SECONDS = 10.0
SHARE = 0.05
FORGOTTEN_SECONDS = 300.0


async def keep(ctx: Context, pair: Pair, memory: PairMemory, until: float = math.inf) -> bool:
    """Go on with a round, or begin one if it is time; true when it is over, false if `until` came first.

    A round that was left half-way a while ago is given up: what it has seen may not be so any more.
    """
    clock = ctx.clock
    began, current = clock.monotonic(), memory.round
    if current is not None and began - current.left_at > FORGOTTEN_SECONDS:
        memory.stop()
    if memory.round is None:
        if began < memory.due:
            return True
        if memory.ledgers is not None and not memory.log and _still(memory.at_rest, await _numbers(ctx, pair)):
            memory.due, memory.last, memory.leftover = clock.monotonic() + PAUSE_SECONDS, clock.now(), False
            return True
    found = await _advance(ctx, pair, memory, until)
    if found is None:
        return False
    memory.leftover = found.leftover
    memory.at_rest = (None, None) if found.leftover or memory.open.may_pass() else found.at_rest
    now = clock.monotonic()
    memory.due, memory.last = now + max(PAUSE_SECONDS, found.took / SHARE), clock.now()
    return True


async def bring_to_retained(
    ctx: Context, pair: Pair, memory: PairMemory, until: float, *, retained_is_later: bool = False
) -> Round | None:
    """One round before a rollback, in one direction: what changed on the serving side goes to the retained one.

    What was written to the retained side alone stays there, and is neither overwritten nor taken for deleted. The
    round when it is over; `None` if `until` came first. `retained_is_later`: as in `in_step.ruling`.
    """
    return await _advance(ctx, pair, memory, until, Move.TO_RETAINED, retained_is_later=retained_is_later)


async def bring_to_serving(ctx: Context, pair: Pair, memory: PairMemory) -> Round:
    """One whole round before the retained side is deleted, in one direction: nothing is written to that side.

    Whoever asks for it makes the barrier there before.
    """
    found = None
    while found is None:
        found = await _advance(ctx, pair, memory, math.inf, Move.TO_SERVING)
    return found


async def _advance(
    ctx: Context,
    pair: Pair,
    memory: PairMemory,
    until: float,
    only: OneWay | None = None,
    *,
    retained_is_later: bool = False,
) -> Round | None:
    """A round that broke off is given up: what it had taken in hand is found again by the next one. So is one in
    other directions.
    """
    began = ctx.clock.monotonic()
    if memory.round is not None and memory.round.only is not only:
        memory.stop()
    try:
        if memory.ledgers is None:
            await _begin(ctx, pair, memory)
        current = memory.round
        if not isinstance(current, Round):
            current = memory.round = await Round.begin(
                ctx, pair, memory, only, retained_is_later=retained_is_later
            )
        over = await current.advance(ctx, pair, until)
    except ScratchLostError:
        memory.forget()
        raise
    except BaseException:
        memory.stop()
        memory.at_rest = (None, None)
        raise
    current.left_at = ctx.clock.monotonic()
    current.took += current.left_at - began
    if not over:
        return None
    memory.round = None
    return current


async def _begin(ctx: Context, pair: Pair, memory: PairMemory) -> None:
    """A process that knows nothing of the pair yet: the marks say what both sides held."""
    points = max(pair.serving.points, pair.retained.points)
    larger = max(pair.serving, pair.retained, key=lambda state: state.points)
    total = await (await ctx.server.feed(larger)).slices()
    memory.ledgers = Ledgers.new(total, buckets_for(points))
    memory.by_marks = set(range(total))
    memory.noted = noted_between(pair.serving, pair.retained, ctx.observed.states.values())
    memory.log = WriteAheadLog.read(pair.serving, pair.retained)
    left = OpenPoints.read(memory.noted)
    memory.unsettled = dict(left.unsettled)
    memory.uncarried = {name: dict(points) for name, points in left.uncarried.items()}


async def _numbers(ctx: Context, pair: Pair) -> tuple[Numbers | None, Numbers | None]:
    return (
        await (await barriers_on(ctx, pair.serving)).look(),
        await (await barriers_on(ctx, pair.retained)).look(),
    )


def _still(before: tuple[Numbers | None, Numbers | None], now: tuple[Numbers | None, Numbers | None]) -> bool:
    return all(stood_still(one, other) for one, other in zip(before, now, strict=True))
