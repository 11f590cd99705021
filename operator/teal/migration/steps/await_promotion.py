"""Awaiting promotion: green is complete and verified, and switches when it may.

It may when somebody has approved this very plan (or the spec lets it approve itself), a window is open, and the
gate before the switch answers. However long that takes, green stays as fresh as it was when it was verified:
catching up goes on, and a verdict that has become old, or that is about another green than the one that is there
now (somebody else has written to it, or nobody remembers), is given again before the switch.
"""

from __future__ import annotations

from dataclasses import replace

from teal.domain.transitions import Event
from teal.domain.windows import next_opening, open_until
from teal.domain.writes import WriteMode
from teal.migration.clock import iso
from teal.migration.context import SLICE_SECONDS, Result, Work
from teal.migration.contract import Note
from teal.migration.copying import copy_pass
from teal.migration.steps import hooks

FRESH_SECONDS = 10.0
VERDICT_SECONDS = 3600.0


async def run(work: Work) -> Result:
    """Approve, or wait and keep green fresh. The first revision has nobody to ask and nothing to wait for."""
    if work.source is None:
        return Result(Event.APPROVED)
    waiting = obstacle(work)
    if waiting:
        return await _wait(work, Result(requeue_after=FRESH_SECONDS, detail=waiting))
    if _aged(work):
        message = f"{work.subject} was verified over an hour ago; it is verified again before the switch."
        return Result(Event.AGED, (Note("VerdictAged", message, "Verify"),))
    if not await _as_judged(work):
        message = f"{work.subject} may have changed since it was verified; it is verified again before the switch."
        return Result(Event.AGED, (Note("VerdictAged", message, "Verify"),))
    result = await hooks.before_switch(work)
    return result if result.event else await _wait(work, result)


def obstacle(work: Work) -> str | None:
    """Why the switch may not happen now, in words; `None` if it may."""
    if work.options.manual and work.desired.asked.promote != work.plan.hash:
        return (
            f"{work.subject} is verified and waits for approval: annotate teal.dev/promote={work.plan.hash} to "
            f"switch, or teal.dev/abort={_id(work)} to give it up."
        )
    now, windows = work.clock.now(), work.options.windows
    if open_until(windows, now) is None:
        return f"{work.subject} is verified and waits for a window: the next one opens at {_opening(work, now)}."
    return None


def _opening(work: Work, now: float) -> str:
    return iso(next_opening(work.options.windows, now))


def _id(work: Work) -> str:
    migration = work.the_target().marks.migration
    return migration.id if migration else ""


def _aged(work: Work) -> bool:
    migration = work.the_target().marks.migration
    return migration is not None and work.clock.now() - migration.stage_since > VERDICT_SECONDS


async def _as_judged(work: Work) -> bool:
    """Whether nobody but Teal has written to green since its verdict, as far as the server can tell."""
    session = work.session
    if work.options.writes is WriteMode.DUAL_WRITE:
        return True
    if session.running_pass is not None:
        return session.judged is not None
    now = await work.server.admin.quiescence(work.subject)
    return now is None or (session.judged is not None and session.judged.same_as(now))


async def _wait(work: Work, result: Result) -> Result:
    """Use the time for a pass, if the last one is a while ago."""
    session, clock = work.session, work.clock
    if session.running_pass is not None or clock.monotonic() >= session.fresh_until:
        if not await _as_judged(work):
            session.judged = None
        if not await copy_pass.advance(work, clock.monotonic() + SLICE_SECONDS, by_field=True):
            return replace(result, requeue_after=0.0)
        if session.judged is not None:
            session.judged = await work.server.admin.quiescence(work.subject)
        session.fresh_until = clock.monotonic() + FRESH_SECONDS
    opening = work.options.windows and open_until(work.options.windows, clock.now()) is None
    if opening:
        left = next_opening(work.options.windows, clock.now()) - clock.now()
        return replace(result, requeue_after=max(0.01, min(result.requeue_after, left)))
    return result
