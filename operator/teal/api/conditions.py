"""Conditions in the usual form of Kubernetes, and the one function that changes them.

`Ready`, `Reconciling` and `Stalled` follow kstatus: the last two are never true together, and are absent when
they are not true. Alert on `Available`: the alias serves, whatever a migration does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from teal.api.model import Items, Model
from teal.api.values import Distinct, StatusTime, shortened

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


def find(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of type `kind`, if there is one."""
    return next((condition for condition in conditions if condition.type == kind), None)


def merged(old: Iterable[Condition], new: Iterable[Condition]) -> tuple[Condition, ...]:
    """`new`; a condition with the same status as before keeps its transition time. Others of `old` are dropped."""
    before = {condition.type: condition for condition in old}

    def kept(condition: Condition) -> Condition:
        previous = before.get(condition.type)
        if previous is None or previous.status != condition.status:
            return condition
        return condition.model_copy(update={"last_transition_time": previous.last_transition_time})

    return tuple(kept(condition) for condition in new)
