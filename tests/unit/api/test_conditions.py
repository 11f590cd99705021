"""Conditions keep their times as long as their status stays."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from teal.api.conditions import merge_conditions

THEN = "2026-01-01T00:00:00Z"
NOW = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)


def condition(kind: str, value: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "status": value, "reason": "Because", "message": "so", **more}


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    old = [
        condition("Ready", "True", lastTransitionTime=THEN),
        condition("Stalled", "True", lastTransitionTime=THEN),
    ]
    new = [condition("Ready", "True", message="other words"), condition("Available", "True")]
    available, ready = merge_conditions(old, new, NOW, generation=7)
    assert ready == condition(
        "Ready", "True", message="other words", lastTransitionTime=THEN, observedGeneration=7
    )
    assert available["lastTransitionTime"] == "2026-05-01T12:30:00Z"


def test_a_condition_that_turns_gets_a_new_time() -> None:
    old = [condition("Ready", "False", lastTransitionTime=THEN)]
    (ready,) = merge_conditions(old, [condition("Ready", "True")], NOW, generation=1)
    assert ready["lastTransitionTime"] == "2026-05-01T12:30:00Z"


def test_a_condition_that_is_left_out_is_gone() -> None:
    old = [condition("Stalled", "True", lastTransitionTime=THEN)]
    assert [each["type"] for each in merge_conditions(old, [condition("Ready", "True")], NOW, 1)] == ["Ready"]
