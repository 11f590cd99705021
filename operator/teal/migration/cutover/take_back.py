"""A cut-over whose outcome was open is taken back: the old side serves, and what the new side took goes back to
it.

An alias request without an answer may have been decided for a while, on some peers or on all, before it was
overruled. Whoever wrote then wrote to the new side. As long as the mark `cutover-begun` stands there, the outcome
counts as open; it is cleared last.
"""

from __future__ import annotations

import math
from dataclasses import replace

from teal.domain.marks import CutoverBegun
from teal.domain.observed import CollectionState
from teal.domain.plan import same_encoder
from teal.domain.rest import Numbers, why_not_at_rest
from teal.migration.context import Context
from teal.migration.copying.memory import CopyMemory
from teal.migration.cutover.alias import Move
from teal.migration.sync.memory import PairMemory
from teal.migration.sync.pairs import Pair
from teal.migration.sync.rounds import bring_to_retained
from teal.qdrant.barrier import Barriers

BACK_SECONDS = 15.0
UNDER_FENCE_SECONDS = 5.0


async def settle_open_cutover(ctx: Context, move: Move) -> None:
    """What an earlier attempt, or an earlier process, has left open."""
    await move.back(ctx.clock.monotonic() + BACK_SECONDS)
    await carry_back(ctx, move, None, None)


async def settle_under_fence(ctx: Context, old: CollectionState) -> None:
    """The fence on `old` is another process's, whose alias request may be open: forwards if it had an effect
    anywhere, else back. What was written meanwhile is looked for afterwards, by what finds the mark."""
    new = next(
        (s for s in ctx.mine.values() if s.marks.cutover_begun and s.marks.cutover_begun.source == old.name), None
    )
    if new is None:
        return
    peers = await ctx.server.admin.peers()
    move = Move(ctx, ctx.desired.alias, old.name, new.name, peers)
    shown = (await ctx.server.admin.aliases_by_peer(peers)).values()
    until = ctx.clock.monotonic() + UNDER_FENCE_SECONDS
    if any(aliases.get(move.alias) == new.name for aliases in shown):
        await move.forwards(until)
    elif any(aliases.get(move.alias) == old.name for aliases in shown):
        await move.back(until)


async def carry_back(ctx: Context, move: Move, barriers: Barriers | None, before: Numbers | None) -> None:
    """The alias is back on every peer and no fence stands: what the new side took meanwhile goes to the old side.

    `before` are the numbers of the new side, by `barriers`, right before the alias was asked to move; `None`: they
    are not known, and both sides are compared.
    """
    new = await ctx.server.admin.collection(move.new)
    old = await ctx.server.admin.collection(move.old)
    if old is not None and new is not None and await _was_touched(barriers, before):
        await _bring(ctx, old, new)
        # What green holds is not only what was copied to it any more.
        ctx.session.part(CopyMemory).lose()
    await ctx.server.mark(move.new, clear=(CutoverBegun.KEY,))


async def _was_touched(barriers: Barriers | None, before: Numbers | None) -> bool:
    if barriers is None or before is None:
        return True
    await barriers.barrier()
    return why_not_at_rest(before, await barriers.look()) is not None


async def _bring(ctx: Context, old: CollectionState, new: CollectionState) -> None:
    """As before a rollback: the one that lost the alias counts as the one that had it. But of two writes to one
    point the one to the side that has it again is the later one.
    """
    encoder = None if same_encoder(old, new) else await ctx.encoders.of(old)
    pair = Pair(new, old, encoder, ctx.desired.text_field)
    back = replace(ctx, embedder=encoder)
    await bring_to_retained(back, pair, PairMemory(new.name, old.name), math.inf, retained_is_later=True)
