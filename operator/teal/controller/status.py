"""Status as data: how it is completed, and how it shows an error.

Invariant: a reconcile that finds the same as the last one yields the same status, byte for byte, so nothing is
sent. Therefore a condition keeps its transition time, and no message may contain a time or a counter.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from teal.api.conditions import READY, RECONCILING, STALLED, merge_conditions

Json = Any

INVALID_SPEC = "InvalidSpec"
INTERNAL_ERROR = "InternalError"


def completed(old: Mapping[str, Json], new: Mapping[str, Json], now: datetime, generation: int) -> dict[str, Json]:
    """`new` as it replaces the status `old`: with merged conditions and `observedGeneration`."""
    conditions = merge_conditions(old.get("conditions") or (), new.get("conditions") or (), now, generation)
    return {"observedGeneration": generation, **new, "conditions": conditions}


def stalled(old: Mapping[str, Json], reason: str, message: str, generation: int) -> dict[str, Json]:
    """`old`, but stalled until somebody changes something: `message` says what."""
    return _troubled(old, STALLED, reason, message, generation)


def in_trouble(old: Mapping[str, Json], reason: str, message: str, generation: int) -> dict[str, Json]:
    """`old`, but the last reconcile failed, and will be tried again."""
    return _troubled(old, RECONCILING, reason, message, generation)


def is_ready(status: Mapping[str, Json]) -> bool:
    conditions = status.get("conditions") or ()
    return any(each["type"] == READY and each["status"] == "True" for each in conditions)


def _troubled(old: Mapping[str, Json], kind: str, reason: str, message: str, generation: int) -> dict[str, Json]:
    kept = [each for each in old.get("conditions") or () if each["type"] not in {READY, RECONCILING, STALLED}]
    why = {"reason": reason, "message": message, "observedGeneration": generation}
    conditions = [*kept, {"type": READY, "status": "False", **why}, {"type": kind, "status": "True", **why}]
    return {**old, "observedGeneration": generation, "conditions": conditions}
