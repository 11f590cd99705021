"""The progress of a migration in words, from the status alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def progress_of(status: Mapping[str, Any]) -> tuple[float, str]:
    """Percent, and in words: points, rate, time left, why it waits."""
    if status["phase"] in ("Ready", "Watching"):
        return 100.0, f"{(status.get('active') or {}).get('collection', '')}"
    found = (status.get("migration") or {}).get("progress") or {}
    if not found:
        return 0.0, ""
    parts = [f"{found.get('pointsDone', 0):,}/{found.get('pointsTotal', 0):,} points"]
    if "pointsPerSecond" in found:
        parts.append(f"{found['pointsPerSecond']:,.0f}/s, {found.get('etaSeconds', 0)} s left")
    if found.get("throttleReason"):
        parts.append(f"waiting: {found['throttleReason']}")
    return float(found.get("percent", 0)), ", ".join(parts)
