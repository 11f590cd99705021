"""When the alias may move, and how long writers are held back for it."""

from __future__ import annotations

from typing import Any

import pytest

from teal.domain.stall import (
    LONGEST_PAUSE,
    SHORTEST_PAUSE,
    Limits,
    Way,
    estimated_fence,
    is_too_long,
    pause_after_pass,
    way_after_pass,
)

LIMITS = Limits(fence=True, quiet_wait=300.0, max_stall=1.0, max_fence=10.0)
NEVER = Limits(fence=False, quiet_wait=300.0, max_stall=1.0, max_fence=10.0)


@pytest.mark.parametrize(
    ("way", "given"),
    [
        (Way.QUIET, {"quiet": True, "busy_looks": 0}),
        (Way.QUIET, {"quiet": True, "pass_seconds": 1000.0, "busy_looks": 0}),
        (Way.QUIET, {"quiet": True, "busy_looks": 0, "limits": NEVER}),
        (Way.WAIT, {"busy_looks": 1}),
        (Way.FENCED, {"busy_looks": 2}),
        (Way.WAIT, {"busy_looks": 2, "limits": Limits(True, 300.0, 0.0, 10.0)}),
        (Way.WAIT, {"busy_looks": 50, "pass_seconds": 2.0}),
        (Way.FENCED, {"busy_looks": 50, "pass_seconds": 2.0, "waited": 300.0}),
        (Way.WAIT, {"busy_looks": 1, "pass_seconds": 8.0}),
        (Way.WAIT, {"busy_looks": 1, "waited": 300.0}),
        (Way.TOO_LONG, {"busy_looks": 2, "pass_seconds": 8.0}),
        (Way.TOO_LONG, {"busy_looks": 50, "pass_seconds": 8.0, "waited": 1000.0}),
        (Way.WAIT, {"busy_looks": 50, "limits": NEVER}),
        (Way.WAIT, {"busy_looks": 50, "pass_seconds": 8.0, "limits": NEVER}),
        (Way.UNFENCED, {"busy_looks": 50, "pass_seconds": 8.0, "waited": 300.0, "limits": NEVER}),
    ],
)
def test_the_way_on_after_a_pass(way: Way, given: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"quiet": False, "pass_seconds": 0.1, "waited": 1.0, "busy_looks": 1, "limits": LIMITS}
    assert way_after_pass(**{**usual, **given}) is way


def test_a_fence_that_is_never_raised_is_never_too_long() -> None:
    assert is_too_long(100.0, LIMITS)
    assert not is_too_long(100.0, NEVER)
    assert not is_too_long(0.1, LIMITS)
    assert estimated_fence(2.0) > 2.0


@pytest.mark.parametrize(("seconds", "pause"), [(0.01, SHORTEST_PAUSE), (2.0, 8.0), (100.0, LONGEST_PAUSE)])
def test_waiting_for_a_quiet_moment_costs_a_share_of_the_time(seconds: float, pause: float) -> None:
    assert pause_after_pass(seconds) == pause
