"""Phase and conditions: where things stand, for people and for machines.

The phase is for people; the conditions follow kstatus: `Reconciling` and `Stalled` are never both there, `Ready`
says that the serving collection equals the spec, `Available` that the alias serves, whatever the migration does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teal.domain.decide import Do
from teal.domain.errors import TransientError
from teal.domain.observed import CollectionState
from teal.domain.ownership import has_served, stage_of
from teal.domain.transitions import Stage
from teal.domain.verdict import Verdict
from teal.migration.clock import iso
from teal.migration.report.record import Found

BY_DECISION = {
    Do.REST: "Ready",
    Do.STAY: "Held",
    Do.SWITCH_BACK: "RollingBack",
    Do.PROVISION: "Provisioning",
}


def phase(found: Found) -> str:
    """Where things stand, in one word."""
    if found.resource.deleting:
        return _phase_of_deletion(found)
    if found.suspended:
        return "Suspended"
    if found.decision is None:
        return _phase_of_trouble(found)
    if found.decision.do in BY_DECISION:
        return BY_DECISION[found.decision.do]
    subject = _subject(found)
    if found.decision.do in (Do.CONTINUE, Do.FINISH_SWITCH) and subject:
        return stage_of(subject).value
    if found.error:
        return _phase_of_trouble(found)
    if found.serving and stage_of(found.serving) is Stage.WATCHING:
        return Stage.WATCHING.value
    return "Ready" if found.serving else "Pending"


def _subject(found: Found) -> CollectionState | None:
    return found.observed.state(found.decision.subject) if found.observed and found.decision else None


def _phase_of_deletion(found: Found) -> str:
    """What is retained is given up at once, unless writers may still be held back: that must not be forgotten."""
    retains = found.resource.manifest.spec.deletion_policy == "Retain"
    return str(found.resource.status.get("phase") or "Deleting") if retains else "Deleting"


def _phase_of_trouble(found: Found) -> str:
    """Nothing could be decided: what was shown last, if the trouble may pass; else Held where something serves."""
    if isinstance(found.error, TransientError):
        return str(found.resource.status.get("phase") or "Pending")
    return "Held" if found.serving else "Pending"


def conditions(found: Found) -> list[dict[str, Any]]:
    """The conditions, each with its reason and a message that says what to do."""
    rows = [_ready(found), _available(found), *_progressing(found), *_verified(found)]
    generation, since = found.resource.generation, iso(found.now)
    before = {c["type"]: c for c in found.resource.status.get("conditions") or ()}
    return [
        {
            "type": kind,
            "status": value,
            "reason": reason,
            "message": message,
            "observedGeneration": generation,
            "lastTransitionTime": _since(before.get(kind), value, since),
        }
        for kind, value, reason, message in rows
    ]


Row = tuple[str, str, str, str]


def _since(before: Mapping[str, Any] | None, value: str, now: str) -> str:
    return str(before["lastTransitionTime"]) if before and before["status"] == value else now


def _ready(found: Found) -> Row:
    if found.suspended:
        return "Ready", "Unknown", "Suspended", "spec.suspend is true; nothing is touched."
    if isinstance(found.error, TransientError) and found.decision and found.decision.do in TIDYING:
        # What serves is as declared; that something old cannot be tidied up yet does not change it.
        return _serves(found)
    if found.error:
        unknown = isinstance(found.error, TransientError) and found.decision is None
        return "Ready", "Unknown" if unknown else "False", found.error.reason, found.error.message
    held = _held(found)
    if held:
        return "Ready", "False", *held
    waiting = _waiting(found)
    if waiting:
        return "Ready", "Unknown", "AwaitingPromotion", waiting
    return _serves(found)


TIDYING = (Do.STAMP_REPLACED, Do.SET_ALIASES, Do.RETIRE, Do.DROP_ABANDONED, Do.LIFT_DECLINE)


CONVERGED = (Do.REST, Do.CONTINUE, *TIDYING)


def _serves(found: Found) -> Row:
    serving, decision = found.serving, found.decision
    if decision and serving and decision.plan.source is None and has_served(serving) and decision.do in CONVERGED:
        return "Ready", "True", "Serving", f"{serving.name} serves {found.resource.manifest.alias!r} as declared."
    return "Ready", "False", phase(found), _doing(found)


def _available(found: Found) -> Row:
    alias = found.resource.manifest.alias
    if found.observed is None:
        reason = found.error.reason if found.error else "NotObserved"
        return "Available", "Unknown", reason, "Qdrant could not be asked whether the alias serves."
    if found.serving:
        return "Available", "True", "AliasServes", f"{alias!r} serves {found.serving.name}."
    return (
        "Available",
        "False",
        "AliasMissing",
        f"The alias {alias!r} does not serve a collection of this resource.",
    )


def _progressing(found: Found) -> list[Row]:
    """At most one of Reconciling and Stalled."""
    if found.suspended or found.resource.deleting:
        return []
    held = _held(found)
    if held:
        return [("Stalled", "True", *held)]
    if found.error and not isinstance(found.error, TransientError):
        return [("Stalled", "True", found.error.reason, found.error.message)]
    if found.error:
        return [("Reconciling", "True", found.error.reason, found.error.message)]
    if found.decision is None or found.decision.do is Do.REST or _waiting(found):
        return []
    return [("Reconciling", "True", phase(found), _doing(found))]


def _verified(found: Found) -> list[Row]:
    mark = found.target.marks.verdict if found.target else None
    if not mark:
        mark = found.serving.marks.verdict if found.serving and not found.target else None
    if not mark:
        return []
    told = {Verdict.PASSED: "True", Verdict.FAILED: "False"}.get(mark["verdict"], "Unknown")
    others = [f"{c['name']}: {c['message']}" for c in mark["checks"] if c["verdict"] != Verdict.PASSED]
    text = "; ".join([f"{len(mark['checks']) - len(others)} of {len(mark['checks'])} checks passed", *others])
    return [("Verified", told, f"Verification{mark['verdict']}", f"{text}.")]


def _waiting(found: Found) -> str | None:
    """What the switch waits for, where that is somebody's word or a time: neither progress nor a fault."""
    return found.detail if phase(found) == Stage.AWAITING_PROMOTION.value and found.detail else None


def _held(found: Found) -> tuple[str, str] | None:
    declined = found.decision.declined if found.decision and found.decision.do is Do.STAY else None
    if declined:
        what = f"Change the spec, or annotate teal.dev/retry={declined.id} to try again."
        return declined.reason, f"{declined.message} {found.decision.plan.source} serves. {what}"  # type: ignore[union-attr]
    target = _subject(found) if found.decision and found.decision.do is Do.CONTINUE else found.target
    migration = target.marks.migration if target else None
    if migration is None or migration.stage is not Stage.HELD:
        return None
    blue = " Blue keeps serving." if found.serving else ""
    ask = f"Change the spec, or annotate teal.dev/retry={migration.id} to try again."
    return migration.reason or "Held", f"{migration.message or ''}{blue} {ask}".strip()


def _doing(found: Found) -> str:
    if found.detail:
        return found.detail
    decision = found.decision
    if decision is None:
        return "Waiting for Qdrant."
    if decision.plan.source:
        return f"{decision.plan.source} → {decision.plan.target}"
    return f"{decision.do.value.capitalize()}: {decision.subject}"
