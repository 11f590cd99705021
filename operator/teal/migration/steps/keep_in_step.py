"""Keeping live collections in step: the round that is due, or its last one before a collection is retired.

During a migration a round gets only a part of the time, and its errors never fail the migration.
"""

from __future__ import annotations

from teal.domain.errors import TransientError
from teal.domain.policy import Do
from teal.domain.policy.due_rounds import LivePair, live_pairs
from teal.migration.context import Context, Result
from teal.migration.sync import rounds
from teal.migration.sync.memory import PairMemories, PairMemory
from teal.migration.sync.pairs import paired

BESIDE_SECONDS = 0.5
"""How long a round may run before the migration goes on."""
SHARE = 5.0
"""How many times as long the migration then runs before the round goes on."""
POSTPONED_SECONDS = 10.0


async def run(ctx: Context) -> Result:
    """Go on with the rounds that the policy named, the newest pair first."""
    alone = ctx.decision.main.do in (Do.REST, Do.STAY, Do.RETIRE)
    until = ctx.until if alone else ctx.clock.monotonic() + BESIDE_SECONDS
    ctx.session.part(PairMemories).keep_only(
        (newer.name, retained.name) for newer, retained in live_pairs(ctx.view)
    )
    due = set(ctx.decision.pairs)
    for states in live_pairs(ctx.view):
        if (states[0].name, states[1].name) in due:
            try:
                await _round(ctx, states, until, alone=alone)
            except TransientError as error:
                if alone:
                    raise
                _memory(ctx, states).due = ctx.clock.monotonic() + POSTPONED_SECONDS
                return Result(detail=error.message)
    return Result()


async def _round(ctx: Context, states: LivePair, until: float, *, alone: bool) -> None:
    newer, retained = states
    memory, began = _memory(ctx, states), ctx.clock.monotonic()
    memory.due = min(memory.due, began)
    within, pair = await paired(ctx, newer, retained)
    await rounds.keep(within, pair, memory, until)
    if not alone and memory.round is not None:
        spent = ctx.clock.monotonic() - began
        memory.due = ctx.clock.monotonic() + SHARE * spent


def _memory(ctx: Context, states: LivePair) -> PairMemory:
    newer, retained = states
    return ctx.session.part(PairMemories).of(newer.name, retained.name)
