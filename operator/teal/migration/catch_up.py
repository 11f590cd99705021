"""Catching up: passes over blue's versions until they are short enough to go on."""

from __future__ import annotations

from teal.domain.transitions import Event
from teal.migration import passes
from teal.migration.work import SLICE_SECONDS, Result, Work

SHORT_CHANGES = 1000
SHORT_SHARE = 0.01


async def run(work: Work) -> Result:
    """A pass that found little to copy ends the stage; the promotion makes the last passes itself."""
    if work.source is None:
        return Result(Event.CAUGHT_UP)
    if not await passes.advance(work, work.clock.monotonic() + SLICE_SECONDS):
        return Result()
    little = max(SHORT_CHANGES, SHORT_SHARE * work.source.points)
    return Result(Event.CAUGHT_UP if work.session.last_pass_changes <= little else None)
