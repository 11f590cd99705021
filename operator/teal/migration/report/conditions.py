"""Phase and conditions: the phase is for people, the conditions are for machines.

The conditions follow kstatus: `Reconciling` and `Stalled` are never both there, `Ready` says that the serving
collection equals the spec, `Available` that the alias serves, whatever a migration does.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from teal.api.conditions import merge_conditions
from teal.domain.errors import TransientError
from teal.domain.observed import CollectionState
from teal.domain.ownership import has_served, stage_of
from teal.domain.policy import Do
from teal.domain.policy.view import is_declared_revision
from teal.domain.transitions import Stage
from teal.domain.verdict import Verdict
from teal.migration.report.record import ReconcileRecord
from teal.migration.steps.registry import OF_SUBJECT, REGISTRY


def phase(record: ReconcileRecord) -> str:
    """The phase of the resource."""
    if record.resource.deleting:
        return "Deleting"
    if record.suspended:
        return "Suspended"
    if record.decision is None:
        return _phase_of_trouble(record)
    action = REGISTRY[record.decision.do]
    shown = action.phase
    subject = _subject(record)
    if shown == OF_SUBJECT and subject:
        return stage_of(subject).value
    if shown:
        return str(shown)
    if record.error and not _tidies(record):
        return _phase_of_trouble(record)
    if record.serving and stage_of(record.serving) is Stage.WATCHING:
        return Stage.WATCHING.value
    return "Ready" if record.serving else "Pending"


def _tidies(record: ReconcileRecord) -> bool:
    """Whether what serves is as declared, and only something old is to be tidied up."""
    decision = record.decision
    return decision is not None and REGISTRY[decision.do].tidies and _serves_revision(record)


def _serves_revision(record: ReconcileRecord) -> bool:
    """Whether the declared revision serves, with no migration under way.

    The action alone does not tell: repairs come before a migration that the spec asks for.
    """
    serving, desired, decision = record.serving, record.desired, record.decision
    if serving is None or desired is None or decision is None or decision.plan.source is not None:
        return False
    return is_declared_revision(desired, serving)


def _subject(record: ReconcileRecord) -> CollectionState | None:
    return record.observed.state(record.decision.subject) if record.observed and record.decision else None


def _phase_of_trouble(record: ReconcileRecord) -> str:
    """Nothing could be decided. On a transient error the last phase stays; else Held if a collection serves."""
    if isinstance(record.error, TransientError):
        return str(record.resource.status.get("phase") or "Pending")
    return "Held" if record.serving else "Pending"


def conditions(record: ReconcileRecord) -> list[dict[str, Any]]:
    """The conditions, each with its reason and a message that says what to do."""
    rows = [_ready(record), _available(record), *_progressing(record), *_verified(record)]
    new = [
        {"type": kind, "status": value, "reason": reason, "message": message}
        for kind, value, reason, message in rows
    ]
    old = record.resource.status.get("conditions") or ()
    return merge_conditions(old, new, datetime.fromtimestamp(record.now, UTC), record.resource.generation)


Row = tuple[str, str, str, str]


def _ready(record: ReconcileRecord) -> Row:
    if record.suspended:
        return "Ready", "Unknown", "Suspended", "spec.suspend is true; Teal changes nothing."
    if isinstance(record.error, TransientError) and _tidies(record):
        # The serving collection is as declared; a leftover that cannot be tidied up yet does not change that.
        return _serves(record)
    if record.error:
        unknown = isinstance(record.error, TransientError) and record.decision is None
        return "Ready", "Unknown" if unknown else "False", record.error.reason, record.error.message
    held = _held(record)
    if held:
        return "Ready", "False", *held
    waiting = _waiting(record)
    if waiting:
        return "Ready", "Unknown", "AwaitingPromotion", waiting
    return _serves(record)


def _serves(record: ReconcileRecord) -> Row:
    serving, decision = record.serving, record.decision
    settled = decision and REGISTRY[decision.do].as_declared and _serves_revision(record)
    if settled and serving and has_served(serving):
        return "Ready", "True", "Serving", f"{serving.name} serves {record.resource.manifest.alias!r} as declared."
    return "Ready", "False", phase(record), _doing(record)


def _available(record: ReconcileRecord) -> Row:
    alias = record.resource.manifest.alias
    if record.observed is None:
        reason = record.error.reason if record.error else "NotObserved"
        return "Available", "Unknown", reason, "Qdrant could not be asked whether the alias serves."
    if record.serving:
        return "Available", "True", "AliasServes", f"{alias!r} serves {record.serving.name}."
    return (
        "Available",
        "False",
        "AliasMissing",
        f"The alias {alias!r} does not serve a collection of this resource.",
    )


def _progressing(record: ReconcileRecord) -> list[Row]:
    """At most one of Reconciling and Stalled."""
    if record.suspended or record.resource.deleting:
        return []
    held = _held(record)
    if held:
        return [("Stalled", "True", *held)]
    if record.error and not isinstance(record.error, TransientError):
        return [("Stalled", "True", record.error.reason, record.error.message)]
    if record.error:
        return [("Reconciling", "True", record.error.reason, record.error.message)]
    if record.decision is None or record.decision.do is Do.REST or _waiting(record):
        return []
    return [("Reconciling", "True", phase(record), _doing(record))]


def _verified(record: ReconcileRecord) -> list[Row]:
    mark = record.target.marks.verdict if record.target else None
    if not mark:
        mark = record.serving.marks.verdict if record.serving and not record.target else None
    if not mark:
        return []
    told = {Verdict.PASSED: "True", Verdict.FAILED: "False"}.get(mark.verdict, "Unknown")
    others = [f"{c.name}: {c.message}" for c in mark.checks if c.verdict is not Verdict.PASSED]
    text = "; ".join([f"{len(mark.checks) - len(others)} of {len(mark.checks)} checks passed", *others])
    return [("Verified", told, f"Verification{mark.verdict}", f"{text}.")]


def _waiting(record: ReconcileRecord) -> str | None:
    """What the cut-over waits for: an approval, a window or a hook. That is neither progress nor an error."""
    decision = record.decision
    if decision is None or decision.plan.source is None or phase(record) != Stage.AWAITING_PROMOTION.value:
        return None
    # Right after the verdict the gates have not been looked at yet.
    return record.detail or f"{decision.subject} is verified; whether it may cut over is looked at next."


def _held(record: ReconcileRecord) -> tuple[str, str] | None:
    declined = record.decision.declined if record.decision and record.decision.do is Do.STAY else None
    if declined:
        what = f"Change the spec, or annotate teal.dev/retry={declined.id} to try again."
        return declined.reason, f"{declined.message} {record.decision.plan.source} serves. {what}"  # type: ignore[union-attr]
    if record.decision is None or record.decision.do is not Do.WAIT_HELD:
        return None
    subject = _subject(record)
    migration = subject.marks.migration if subject else None
    if migration is None:
        return None
    blue = " Blue keeps serving." if record.serving else ""
    ask = f"Change the spec, or annotate teal.dev/retry={migration.id} to try again."
    return migration.reason or "Held", f"{migration.message or ''}{blue} {ask}".strip()


def _doing(record: ReconcileRecord) -> str:
    if record.detail:
        return record.detail
    decision = record.decision
    if decision is None:
        return "Waiting for Qdrant."
    if decision.plan.source:
        return f"{decision.plan.source} → {decision.plan.target}"
    return f"{decision.do.value.capitalize()}: {decision.subject}"
