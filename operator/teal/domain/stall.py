"""When to move the alias, and how long writers may be held back for it. Pure: figures in, a decision out.

Every cut-over that may raise the fence does. A quiet moment saves the pass under it, so writers are held back for
an instant only. When writers never pause, the fence lasts about as long as a pass: it is raised at once if that is
short, else after `quiet_wait`, and not at all if it would last longer than `max_fence`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MARGIN = 0.5
"""Seconds that a fence takes beside its pass: until every peer shows it, and the alias."""
PASS_FACTOR = 1.5
"""How much longer than the last pass the one under the fence may take."""
STEADY_LOOKS = 2
"""After so many looks in a row that were not quiet, writers count as steady."""
PAUSE_SHARE = 4.0
"""How many times as long as a pass the pause before the next one is."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 30.0


class Way(StrEnum):
    """How to go on after a pass."""

    QUIET = "Quiet"
    """The collection was at rest from before the pass until now."""
    FENCED = "Fenced"
    """Raise the fence, and make the last pass under it."""
    UNFENCED = "Unfenced"
    """Move the alias right after a pass, while writers go on."""
    WAIT = "Wait"
    TOO_LONG = "TooLong"
    """Wait for a quiet moment, because a fence would last too long."""


@dataclass(frozen=True)
class Limits:
    """What the resource allows, in seconds. `fence`: whether writers may be held back at all."""

    fence: bool
    quiet_wait: float
    max_stall: float
    max_fence: float


def estimated_fence(pass_seconds: float) -> float:
    """How long a fence with a pass under it would hold writers back."""
    return pass_seconds * PASS_FACTOR + MARGIN


def is_too_long(pass_seconds: float, limits: Limits) -> bool:
    """Whether a fence would last longer than it may."""
    return limits.fence and estimated_fence(pass_seconds) > limits.max_fence


def way_after_pass(*, quiet: bool, pass_seconds: float, waited: float, busy_looks: int, limits: Limits) -> Way:
    """`waited`: seconds since the first look; `busy_looks`: looks in a row that were not quiet, with this one."""
    if quiet:
        return Way.QUIET
    if not limits.fence:
        return Way.UNFENCED if waited >= limits.quiet_wait else Way.WAIT
    if busy_looks < STEADY_LOOKS:
        # The first pass may have had much to catch up with, so its duration does not tell that of the next one.
        return Way.WAIT
    if is_too_long(pass_seconds, limits):
        return Way.TOO_LONG
    short = estimated_fence(pass_seconds) <= limits.max_stall
    return Way.FENCED if short or waited >= limits.quiet_wait else Way.WAIT


def pause_after_pass(pass_seconds: float) -> float:
    """How long to wait before the next pass, so that waiting for a quiet moment costs little."""
    return min(LONGEST_PAUSE, max(SHORTEST_PAUSE, pass_seconds * PAUSE_SHARE))
