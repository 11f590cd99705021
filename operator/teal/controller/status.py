"""Status as data: how it is completed, and how it shows an error.

Invariant: a reconcile that finds the same as the last one yields the same status, byte for byte, so nothing is
sent. Therefore a condition keeps its transition time, and no message may contain a time or a counter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from teal.api.conditions import READY, RECONCILING, STALLED
from teal.api.values import rfc3339

Json = Any

INVALID_SPEC = "InvalidSpec"
INTERNAL_ERROR = "InternalError"


def merge_conditions(
    old: Sequence[Mapping[str, Json]], new: Sequence[Mapping[str, Json]], now: datetime, generation: int
) -> list[dict[str, Json]]:
    """`new`, completed and in the order of their types; a condition with the same status keeps its transition
    time.

    Conditions that `new` does not have are dropped. `generation` is the default of `observedGeneration`, `now`
    (with a time zone) that of `lastTransitionTime`.
    """
    before = {condition["type"]: condition for condition in old}
    return [_completed(before.get(each["type"]), each, now, generation) for each in sorted(new, key=_type)]


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


def _completed(
    before: Mapping[str, Json] | None, condition: Mapping[str, Json], now: datetime, generation: int
) -> dict[str, Json]:
    complete = {"observedGeneration": generation, "lastTransitionTime": rfc3339(now), **condition}
    if before is not None and before["status"] == condition["status"] and "lastTransitionTime" in before:
        complete["lastTransitionTime"] = before["lastTransitionTime"]
    return complete


def _type(condition: Mapping[str, Json]) -> str:
    kind: str = condition["type"]
    return kind
