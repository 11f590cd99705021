"""Conditions in the usual form of Kubernetes, and the one function that changes them.

`Ready`, `Reconciling` and `Stalled` follow kstatus: the last two are never true together, and are absent when
they are not true. Alert on `Available`: the alias serves, whatever a migration does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from teal.api.model import Items, Model
from teal.api.values import Distinct, StatusTime, rfc3339, shortened

READY = "Ready"
AVAILABLE = "Available"
RECONCILING = "Reconciling"
STALLED = "Stalled"
VERIFIED = "Verified"

NOT_SUPPORTED_YET = "NotSupportedYet"

ConditionStatus = Literal["True", "False", "Unknown"]


class Condition(Model):
    """One aspect of the object's state."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """What this is about: Ready, Available, Reconciling, Stalled or Verified."""
    status: ConditionStatus
    """Whether the condition holds."""
    observed_generation: int | None = Field(default=None, ge=0)
    """The generation of the spec that this condition is about."""
    last_transition_time: StatusTime
    """When `status` last changed."""
    reason: Annotated[
        str, Field(min_length=1, max_length=1024, pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
    ]
    """Why, as one CamelCase word for machines."""
    message: Annotated[str, Field(max_length=32768), shortened(32768)]
    """Why and what to do, for people."""


Conditions = Annotated[Items[Condition], Field(max_length=16), Distinct("type")]


def merge_conditions(
    old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]], now: datetime, generation: int
) -> list[dict[str, Any]]:
    """`new`, completed and in the order of their types; one with the same status keeps its transition time.

    Conditions that `new` does not have are dropped. `generation` is the default of `observedGeneration`, `now`
    (with a time zone) that of `lastTransitionTime`.
    """
    before = {condition["type"]: condition for condition in old}
    return [_completed(before.get(each["type"]), each, now, generation) for each in sorted(new, key=_type)]


def _completed(
    before: Mapping[str, Any] | None, condition: Mapping[str, Any], now: datetime, generation: int
) -> dict[str, Any]:
    complete = {"observedGeneration": generation, "lastTransitionTime": rfc3339(now), **condition}
    if before is not None and before["status"] == condition["status"] and "lastTransitionTime" in before:
        complete["lastTransitionTime"] = before["lastTransitionTime"]
    return complete


def _type(condition: Mapping[str, Any]) -> str:
    return str(condition["type"])
