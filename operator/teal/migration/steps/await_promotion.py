"""Awaiting promotion: green is complete and verified, and waits for the cut-over.

The cut-over may happen when this very plan is approved (or promotion is automatic), a window is open, and the hook
before the cut-over agrees. Meanwhile green stays as fresh as when it was verified: catching up goes on. Green is
verified again if its verdict is old, or if somebody else may have written to it since.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from teal.domain.transitions import Event
from teal.domain.windows import next_opening, open_until
from teal.domain.writes import WriteMode
from teal.migration.clock import iso
from teal.migration.context import SLICE_SECONDS, Context, Result
from teal.migration.contract import Note
from teal.migration.copying import copy_pass
from teal.migration.session import Part
from teal.migration.steps import hooks
from teal.migration.steps.verify import VerifyMemory

FRESH_SECONDS = 10.0
VERDICT_SECONDS = 3600.0


@dataclass
class WaitMemory(Part, survives_plan=False):
    """The monotonic time until which the last pass counts as fresh."""

    fresh_until: float = 0.0


async def run(ctx: Context) -> Result:
    """Approve, or wait and keep green fresh. The first revision needs no approval."""
    if ctx.source is None:
        return Result(Event.APPROVED)
    waiting = obstacle(ctx)
    if waiting:
        return await _wait(ctx, Result(requeue_after=FRESH_SECONDS, detail=waiting))
    if _aged(ctx):
        message = f"{ctx.subject} was verified more than an hour ago; it is verified again before the cut-over."
        return Result(Event.AGED, (Note("VerdictAged", message, "Verify"),))
    if not await _as_verified(ctx):
        message = (
            f"{ctx.subject} may have changed since it was verified; it is verified again before the cut-over."
        )
        return Result(Event.AGED, (Note("VerdictAged", message, "Verify"),))
    result = await hooks.before_switch(ctx)
    return result if result.event else await _wait(ctx, result)


def obstacle(ctx: Context) -> str | None:
    """Why the cut-over may not happen now, in words; `None` if it may."""
    if ctx.options.manual and ctx.desired.asked.promote != ctx.plan.hash:
        return (
            f"{ctx.subject} is verified and waits for approval: annotate teal.dev/promote={ctx.plan.hash} to "
            f"cut over, or teal.dev/abort={_id(ctx)} to abort the migration."
        )
    now, windows = ctx.clock.now(), ctx.options.windows
    if open_until(windows, now) is None:
        return f"{ctx.subject} is verified and waits for a window: the next one opens at {_opening(ctx, now)}."
    return None


def _opening(ctx: Context, now: float) -> str:
    return iso(next_opening(ctx.options.windows, now))


def _id(ctx: Context) -> str:
    migration = ctx.the_subject().marks.migration
    return migration.id if migration else ""


def _aged(ctx: Context) -> bool:
    migration = ctx.the_subject().marks.migration
    return migration is not None and ctx.clock.now() - migration.stage_since > VERDICT_SECONDS


async def _as_verified(ctx: Context) -> bool:
    """Whether nobody but Teal has written to green since its verdict, as far as the server can tell."""
    memory = ctx.session.part(VerifyMemory)
    if ctx.options.writes is WriteMode.DUAL_WRITE:
        return True
    if copy_pass.is_under_way(ctx):
        return memory.verified_at is not None
    now = await ctx.server.admin.quiescence(ctx.subject)
    return now is None or (memory.verified_at is not None and memory.verified_at.same_as(now))


async def _wait(ctx: Context, result: Result) -> Result:
    """Make another pass while waiting, if the last one is no longer fresh."""
    memory, verified, clock = ctx.session.part(WaitMemory), ctx.session.part(VerifyMemory), ctx.clock
    if copy_pass.is_under_way(ctx) or clock.monotonic() >= memory.fresh_until:
        if not await _as_verified(ctx):
            verified.verified_at = None
        if not await copy_pass.advance(ctx, clock.monotonic() + SLICE_SECONDS, by_field=True):
            return replace(result, requeue_after=0.0)
        if verified.verified_at is not None:
            verified.verified_at = await ctx.server.admin.quiescence(ctx.subject)
        memory.fresh_until = clock.monotonic() + FRESH_SECONDS
    opening = ctx.options.windows and open_until(ctx.options.windows, clock.now()) is None
    if opening:
        left = next_opening(ctx.options.windows, clock.now()) - clock.now()
        return replace(result, requeue_after=max(0.01, min(result.requeue_after, left)))
    return result
