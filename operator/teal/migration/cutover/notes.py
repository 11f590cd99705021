"""What is noted durably about both sides of a cut-over.

A rollback, staying in step and a crash in that very moment start from these notes.
"""

from __future__ import annotations

from teal.domain.ledger import checkpoint_of, highest
from teal.domain.marks import Carried, CutoverBegun, InStep, Mark, Stale
from teal.domain.observed import CollectionState
from teal.domain.plan import same_encoder
from teal.domain.writes import WriteMode
from teal.migration.context import Context
from teal.migration.copying.memory import CopyMemory
from teal.migration.copying.transform import ChangedTexts, stale_between
from teal.migration.cutover.memory import CutoverMemory


async def remember_cutover(
    ctx: Context, state: CutoverMemory, old: CollectionState, new: CollectionState, *, at_rest: bool
) -> None:
    """Both sides' versions as digests, durably: rolling back, staying in step and a crash right here need them."""
    ledger = ctx.session.part(CopyMemory).the_ledger
    if ctx.writes is not WriteMode.DUAL_WRITE and new.one_sequence and state.all_known:
        state.highest[new.name] = highest(state.new_side or {})
    if at_rest and old.one_sequence:
        state.highest[old.name] = highest(ledger.versions)
    await note_both_sides(ctx, state, old, new, CutoverBegun(old.name))


async def note_both_sides(
    ctx: Context, state: CutoverMemory, old: CollectionState, new: CollectionState, *more: Mark
) -> None:
    """Write at which versions both sides hold the same, together with `more`."""
    here = checkpoint_of(state.new_side or {}, state.highest.get(new.name))
    there = checkpoint_of(ctx.session.part(CopyMemory).the_ledger.versions, state.highest.get(old.name))
    noted = (InStep(old.name, here, there), *stale_since(ctx, old, new), *more)
    await ctx.server.mark(new.name, *noted, clear=(Carried.about(old.name),))


def stale_since(ctx: Context, old: CollectionState, new: CollectionState) -> tuple[Stale, ...]:
    """The mark that says whose vector on `old` may be older than its text; none where vectors are copied."""
    if same_encoder(old, new):
        return ()
    lately = ctx.session.part(ChangedTexts).of(old.name)
    known = stale_between(new, old.name) | lately.stale(ctx.clock.monotonic())
    return (known.as_mark(old.name),)
