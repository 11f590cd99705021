"""Catching up: passes over blue's versions until they are short enough to go on."""

from __future__ import annotations

from teal.domain.transitions import Event
from teal.migration.context import SLICE_SECONDS, Context, Result
from teal.migration.contract import Note
from teal.migration.copying import copy_pass
from teal.migration.copying.memory import CopyMemory
from teal.migration.cutover import too_long
from teal.qdrant import wire

SHORT_CHANGES = 1000
SHORT_SHARE = 0.01


async def run(ctx: Context) -> Result:
    """A pass that found little to copy ends the stage; the cut-over makes the last passes itself."""
    if ctx.source is None:
        return Result(Event.CAUGHT_UP)
    if not await copy_pass.advance(ctx, ctx.clock.monotonic() + SLICE_SECONDS, by_field=True):
        return Result()
    little = max(SHORT_CHANGES, SHORT_SHARE * ctx.source.points)
    changes = ctx.session.part(CopyMemory).pass_changes
    return Result(Event.CAUGHT_UP if changes <= little else None, (*_without(ctx), *too_long.warning(ctx)))


def _without(ctx: Context) -> tuple[Note, ...]:
    """A warning about points that cannot be found by the change field."""
    watermark, name = ctx.session.part(CopyMemory).watermark, ctx.options.change_field
    if not name or not watermark.without:
        return ()
    samples = ", ".join(map(wire.id_text, watermark.samples))
    message = (
        f"{watermark.without:,} points have no number or date in {name!r} (such as {samples}): their changes are "
        "found only by passes over all points."
    )
    if ctx.trusted_field:
        message += " So the field is not trusted, and the last passes before the cut-over compare all points."
    watermark.without = 0
    return (Note("MigrationWarning", message, "CatchUp", warning=True),)
