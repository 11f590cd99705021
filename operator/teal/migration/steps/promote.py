"""Promoting: the alias moves to green, by the cut-over that a rollback uses too.

The approval and the window are checked again at every attempt. Blue's search latency is measured right
before, as the baseline of the watch.
"""

from __future__ import annotations

from teal.domain.stall import pause_after_pass
from teal.domain.transitions import Event
from teal.migration.context import Context, Result
from teal.migration.contract import Note
from teal.migration.cutover import attempt
from teal.migration.cutover.alias import point_alias
from teal.migration.cutover.looks import Looks
from teal.migration.cutover.proof import LastCutover, in_words
from teal.migration.probing import search
from teal.migration.steps import await_promotion
from teal.migration.sync.catching_up import Promotion


async def run(ctx: Context) -> Result:
    """One attempt; without a blue no write can be missed, so the alias is set at once."""
    blue, green = ctx.source, ctx.the_subject()
    if blue is None:
        alias = ctx.desired.alias
        await point_alias(ctx, alias, green.name, expected=ctx.observed.aliases.get(alias))
        note = Note("AliasCreated", f"The alias {alias!r} serves {green.name}.", "Promote")
        return Result(Event.CUT_OVER, (note,))
    withdrawn = await_promotion.obstacle(ctx)
    if withdrawn:
        ctx.session.drop(Looks)
        return Result(Event.WITHDRAWN, (Note("PromotionWithdrawn", withdrawn, "Promote"),))
    await search.prepare_watch(ctx, blue)
    catch_up = Promotion(ctx, blue, green)
    proof = await attempt.attempt(ctx, blue, green, catch_up)
    if proof is None:
        pause = 0.0 if catch_up.under_way else pause_after_pass(catch_up.seconds)
        return Result(requeue_after=pause, detail="waiting for a moment without writes")
    ctx.session.part(LastCutover).proof = proof
    held = f"writers held back for {proof.fence_millis:.0f} ms" if proof.fence_millis else "no writers held back"
    note = Note(
        "CutoverCompleted",
        f"The alias {ctx.desired.alias!r} moved from {blue.name} to {green.name} in "
        f"{proof.alias_millis:.0f} ms ({proof.mode.lower()}, {held}): {in_words(proof)}",
        "Promote",
    )
    return Result(Event.CUT_OVER, (note,))
