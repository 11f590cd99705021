"""The annotations that are refused, as status and Events show them.

An annotation that acts is visible by its effect. One that is refused is in status as long as it exists, and is
reported by one Event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teal.domain.actions import Refusal, Situation, refusals
from teal.domain.observed import CollectionState, Observed
from teal.domain.ownership import has_served, mine
from teal.domain.plan import Desired
from teal.domain.policy import Decision, Do, is_declared_revision, retained_source
from teal.domain.transitions import Stage
from teal.migration.contract import Note


def refused(
    desired: Desired, observed: Observed, decision: Decision, status: Mapping[str, Any]
) -> tuple[Refusal, ...]:
    """The annotations that name an old id. `status` is the one that was written last."""
    return tuple(refusals(desired.asked, situation(desired, observed, decision, status)))


def situation(desired: Desired, observed: Observed, decision: Decision, status: Mapping[str, Any]) -> Situation:
    """What the annotations of this resource can name now."""
    collections = mine(observed, desired.identity)
    serving = collections.get(observed.aliases.get(desired.alias, ""))
    target = collections.get(decision.plan.target)
    green = target if target is not serving and target is not None and not _rests(target) else None
    wanted = serving is not None and is_declared_revision(desired, serving)
    ids = [state.marks.migration.id for state in collections.values() if state.marks.migration and _rests(state)]
    stopped_before = [state.marks.declined.id for state in collections.values() if state.marks.declined]
    told = [str(row["id"]) for row in status.get("history") or () if row.get("id")]
    return Situation(
        plan_hash=decision.plan.hash if decision.plan.source and decision.do is not Do.STAY else None,
        under_way=_id(green),
        serving=_id(serving),
        can_roll_back=wanted and serving is not None and retained_source(collections, serving) is not None,
        stopped=_stopped(decision, green),
        past=(*ids, *stopped_before, *told),
    )


def notes(refused_ones: tuple[Refusal, ...], status: Mapping[str, Any]) -> list[Note]:
    """An Event for each refusal that the last status did not show."""
    shown = {(row.get("annotation"), row.get("value")) for row in status.get("refusedActions") or ()}
    fresh = [each for each in refused_ones if (each.annotation, each.value) not in shown]
    return [Note("ActionRefused", f"{each}", "Refuse", warning=True) for each in fresh]


def as_json(refused_ones: tuple[Refusal, ...]) -> list[dict[str, Any]]:
    """The refusals as status shows them."""
    return [{"annotation": each.annotation, "value": each.value, "message": each.why} for each in refused_ones]


def _rests(state: CollectionState) -> bool:
    """Whether no migration into it is under way."""
    migration = state.marks.migration
    return has_served(state) and (migration is None or migration.stage is not Stage.ROLLING_BACK)


def _id(state: CollectionState | None) -> str | None:
    return state.marks.migration.id if state and state.marks.migration else None


def _stopped(decision: Decision, green: CollectionState | None) -> str | None:
    if decision.declined:
        return decision.declined.id
    migration = green.marks.migration if green else None
    return migration.id if migration and migration.stage is Stage.HELD else None
