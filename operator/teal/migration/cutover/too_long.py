"""A fence that would hold writers back longer than it may: said early, with the ways there are."""

from __future__ import annotations

from dataclasses import dataclass

from teal.domain.errors import TransientError
from teal.domain.stall import Limits, estimated_fence, is_too_long, pause_after_pass
from teal.domain.writes import WriteMode
from teal.migration.context import Context
from teal.migration.contract import Note
from teal.migration.copying import copy_pass
from teal.migration.copying.memory import CopyMemory
from teal.migration.session import Part

REASON = "FenceTooLong"


@dataclass
class Warned(Part, survives_plan=False):
    """Whether this migration has been warned of."""

    done: bool = False


def fence_too_long(ctx: Context, pass_seconds: float) -> TransientError:
    """Teal goes on waiting for a quiet moment; the next pass comes after a pause."""
    return TransientError(REASON, _words(ctx, pass_seconds), pause_after_pass(pass_seconds))


def warning(ctx: Context) -> tuple[Note, ...]:
    """Once, as soon as the duration of a pass is known: long before the cut-over."""
    seconds, warned = ctx.session.part(CopyMemory).pass_seconds, ctx.session.part(Warned)
    options = ctx.options
    limits = Limits(options.fence, options.quiet_wait, options.max_stall, options.max_fence)
    if warned.done or ctx.writes is not WriteMode.CATCH_UP or not is_too_long(seconds, limits):
        return ()
    if copy_pass.may_trust_field(ctx):
        return ()  # the last passes do not look at all points
    warned.done = True
    return (Note(REASON, _words(ctx, seconds), "CatchUp", warning=True),)


def _words(ctx: Context, seconds: float) -> str:
    limit = ctx.options.max_fence
    return (
        f"The last pass took {seconds:.1f} s, so a fence would hold writers back for about "
        f"{estimated_fence(seconds):.0f} s, longer than promotion.maxFence ({limit:g} s). Without one, Teal waits "
        "for a moment without writes that is as long as a pass. To cut over sooner, pause the writers, raise "
        "maxFence (at most 60 s), set migration.changeField.trusted if every write raises that field, or set "
        "promotion.fence to Never, if a late write may be lost."
    )
