"""Status as data: the same look is the same bytes, and conditions keep their times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from teal.controller import status

THEN = "2026-01-01T00:00:00Z"
NOW = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)


def condition(kind: str, value: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "status": value, "reason": "Because", "message": "so", **more}


def test_the_same_again_is_the_same_bytes_for_bytes() -> None:
    found = {"phase": "Ready", "conditions": [condition("Ready", "True"), condition("Available", "True")]}
    first = status.completed({}, found, NOW, generation=3)
    second = status.completed(first, found, datetime(2027, 1, 1, tzinfo=UTC), generation=3)
    assert first == second
    assert first["observedGeneration"] == 3


def test_trouble_keeps_what_was_known_and_is_never_both_kinds() -> None:
    old = {
        "active": {"collection": "docs-v1"},
        "conditions": [condition("Available", "True"), condition("Ready", "True"), condition("Stalled", "True")],
    }
    new = status.in_trouble(old, "InternalError", "a bug", generation=2)
    assert new["active"] == {"collection": "docs-v1"}
    assert {each["type"]: each["status"] for each in new["conditions"]} == {
        "Available": "True",
        "Ready": "False",
        "Reconciling": "True",
    }
    assert status.is_ready(old)
    assert not status.is_ready(new)
