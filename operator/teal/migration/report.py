"""The status, made of what was found: a report that can be thrown away and is made again.

Two audiences. The phase is for people; the conditions are for machines and follow kstatus: `Reconciling` and
`Stalled` are never both there, `Ready` says that the serving collection equals the spec, `Available` that the
alias serves, whatever the migration is doing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from teal.api.values import format_duration
from teal.domain.actions import Refusal
from teal.domain.decide import Decision, Do, has_served, ours, stage_of
from teal.domain.errors import TealError, TransientError
from teal.domain.marks import Declined
from teal.domain.observed import CollectionState, Observed
from teal.domain.plan import Desired, Identity, Strategy
from teal.domain.transitions import Event, Stage
from teal.domain.verdict import Verdict
from teal.domain.writes import WriteMode, guarantee
from teal.migration import asked
from teal.migration.clock import iso
from teal.migration.contract import Note, Outcome, Resource
from teal.migration.work import Result, Session

HISTORY = 10


@dataclass
class Found:
    """What one reconcile found and did, gathered as it goes."""

    resource: Resource
    now: float
    session: Session = field(default_factory=Session)
    desired: Desired | None = None
    observed: Observed | None = None
    decision: Decision | None = None
    error: TealError | None = None
    notes: list[Note] = field(default_factory=list)
    detail: str = ""
    endpoint: str = ""
    requeue_after: float = 60.0
    suspended: bool = False
    finished: bool = False
    failed: bool = False
    identity: Identity | None = None
    """Whose collections are ours, where the spec could not be resolved to `desired`."""

    @property
    def serving(self) -> CollectionState | None:
        """The collection behind the alias, if it is ours."""
        identity = self.desired.identity if self.desired else self.identity
        if self.observed is None or identity is None:
            return None
        state = self.observed.state(self.observed.aliases.get(self.resource.manifest.alias))
        return state if ours(state, identity) else None

    @property
    def target(self) -> CollectionState | None:
        """The green of a migration under way."""
        if self.decision is None or self.observed is None:
            return None
        if self.decision.plan.strategy in (Strategy.NOTHING, Strategy.IN_PLACE):
            return None
        return self.observed.state(self.decision.plan.target)


def remember(found: Found, result: Result) -> None:
    """Keep what a finished migration leaves in `history`, until the status has been written."""
    decision = found.decision
    if decision is None or decision.plan.source is None:
        return
    by_event = {Event.SWITCHED: "Promoted", Event.FAILED: "Held"}
    outcome = result.outcome or (by_event.get(result.event) if result.event else None)
    if outcome is None:
        return
    target = found.target
    began = target.marks.migration.started_at if target and target.marks.migration else found.now
    named = {"id": target.marks.migration.id} if target and target.marks.migration else {}
    found.session.history.append(
        {
            **named,
            "from": decision.plan.source,
            "to": decision.plan.target,
            "outcome": outcome,
            "points": found.session.progress.total,
            "duration": format_duration(timedelta(seconds=max(0, round(found.now - began)))),
            "finishedAt": iso(found.now),
            "message": "; ".join(note.message for note in result.notes)[:500],
        }
    )


def outcome(found: Found) -> Outcome:
    """Everything that the host needs to know."""
    return Outcome(
        status=status(found),
        notes=(*found.notes, *asked.notes(_refused(found), found.resource.status)),
        requeue_after=found.requeue_after,
        failed=found.failed,
        finished=found.finished,
        endpoint=found.endpoint,
    )


def status(found: Found) -> dict[str, Any]:
    """The whole status, JSON-ready and without nulls."""
    whole = {
        "observedGeneration": found.resource.generation,
        "phase": phase(found),
        "alias": found.resource.manifest.alias,
        "active": _active(found) or _kept(found, "active"),
        "migration": _migration(found),
        "retained": _retained(found),
        "history": _history(found),
        "forecast": _forecast(found),
        "refusedActions": asked.as_json(_refused(found)),
        "conditions": conditions(found),
    }
    return {name: value for name, value in whole.items() if value not in (None, [], {})}


def _refused(found: Found) -> tuple[Refusal, ...]:
    if found.desired is None or found.observed is None or found.decision is None:
        return ()
    return asked.refused(found.desired, found.observed, found.decision, found.resource.status)


BY_DECISION = {
    Do.REST: "Ready",
    Do.STAY: "Held",
    Do.SWITCH_BACK: "RollingBack",
    Do.PROVISION: "Provisioning",
}


def phase(found: Found) -> str:
    """Where things stand, in one word."""
    if found.resource.deleting:
        return "Deleting"
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


def _kept(found: Found, name: str) -> Any:
    """What could not be observed this time stays as it was last reported."""
    return found.resource.status.get(name) if found.observed is None else None


def _active(found: Found) -> dict[str, Any] | None:
    serving = found.serving
    if serving is None:
        return None
    migration, main = serving.marks.migration, serving.schema.main
    since = migration.stage_since if migration else 0.0
    before = found.resource.status.get("active") or {}
    same = before.get("collection") == serving.name
    active: dict[str, Any] = {
        "collection": serving.name,
        "schemaVersion": serving.schema.schema_version,
        "revision": serving.revision,
        "points": serving.points,
        "since": before["since"] if same and before.get("since") else iso(since or found.now),
    }
    if main:
        active |= {"dimensions": main.size, "distance": main.distance.value}
    return active


def _migration(found: Found) -> dict[str, Any] | None:
    decision, session = found.decision, found.session
    if decision is None:
        return dict(found.resource.status.get("migration") or {}) or None
    if decision.plan.strategy in (Strategy.BLUE_GREEN, Strategy.SWITCH_BACK):
        return _under_way(found, decision)
    if decision.declined and decision.plan.source:
        return _stopped(found, decision, decision.declined)
    last = found.resource.status.get("migration")
    if not found.serving:
        return None
    if not last or last.get("target") != found.serving.name:
        if not session.in_step:
            return None
        last = {"source": session.in_step.retained, "target": found.serving.name}
    writes = _writes(found) if session.writes.proof else dict(last.get("writes") or {})
    if session.in_step:
        writes["inStep"] = session.in_step.as_json(found.now)
    row = {**last, "phase": phase(found), "writes": writes, "watch": _watch(found.serving)}
    if found.serving.marks.verdict:
        row["verification"] = _verification(found.serving.marks.verdict)
    return {name: value for name, value in row.items() if value not in (None, {}, [])}


def _under_way(found: Found, decision: Decision) -> dict[str, Any]:
    plan, session, target = decision.plan, found.session, found.target
    mark = target.marks.migration if target else None
    row: dict[str, Any] = {
        "planHash": plan.hash,
        "strategy": plan.strategy.value,
        "reasons": [*map(str, plan.reasons), *plan.warnings],
        "source": plan.source,
        "target": plan.target,
        "phase": phase(found),
        "progress": _progress(session),
        "writes": _writes(found),
    }
    if mark:
        row |= {"id": mark.id, "startedAt": iso(mark.started_at), "attempts": mark.attempt}
    if target and target.marks.verdict:
        row["verification"] = _verification(target.marks.verdict)
    if found.error:
        row["lastError"] = found.error.message
    elif mark and mark.message:
        row["lastError"] = mark.message
    return {name: value for name, value in row.items() if value not in (None, {}, [])}


def _stopped(found: Found, decision: Decision, declined: Declined) -> dict[str, Any]:
    """The migration that was aborted or rolled back; what its last report says of it is kept."""
    last = found.resource.status.get("migration") or {}
    kept = last if last.get("id") == declined.id else {}
    in_step = found.session.in_step
    writes = {**(kept.get("writes") or {}), **({"inStep": in_step.as_json(found.now)} if in_step else {})}
    return {
        **kept,
        **({"writes": writes} if writes else {}),
        "id": declined.id,
        "planHash": declined.plan_hash,
        "source": decision.plan.source,
        "target": decision.plan.target,
        "phase": phase(found),
        "attempts": declined.attempt,
        "lastError": declined.message,
    }


def _watch(state: CollectionState) -> dict[str, Any]:
    """What the watch of `state` compares, in milliseconds, and how far it is."""
    migration, baseline, watched = state.marks.migration, state.marks.baseline, state.marks.watched
    row: dict[str, Any] = {}
    if baseline and migration and baseline.migration == migration.id:
        row |= {"medianMillisBefore": _millis(baseline.median), "p95MillisBefore": _millis(baseline.p95)}
    if watched and migration and watched.migration == migration.id:
        row["watchedSeconds"] = round(watched.seconds)
        if watched.p95 is not None:
            row["p95Millis"] = _millis(watched.p95)
        if watched.error_rate is not None:
            row["errorRate"] = round(watched.error_rate, 4)
        if watched.paused:
            row["paused"] = watched.paused
    return row


def _millis(seconds: float) -> float:
    return round(seconds * 1000, 2)


def _verification(mark: Mapping[str, Any]) -> dict[str, Any]:
    return {"verdict": mark["verdict"], "checks": list(mark["checks"])}


def _progress(session: Session) -> dict[str, Any]:
    progress = session.progress
    if not progress.total and not progress.done:
        return {}
    left = max(0, progress.total - progress.done)
    row: dict[str, Any] = {
        "pointsDone": progress.done,
        "pointsTotal": progress.total,
        "percent": min(100, progress.done * 100 // max(1, progress.total)),
        "throttled": progress.throttled is not None,
    }
    if progress.rate:
        row |= {"pointsPerSecond": round(progress.rate, 1), "etaSeconds": round(left / progress.rate)}
    if progress.throttled:
        row["throttleReason"] = progress.throttled
    return row


def _writes(found: Found) -> dict[str, Any]:
    session, migration = found.session, found.resource.manifest.spec.migration
    numbered = any(state and state.schema.vectors for state in (found.target, found.serving))
    by_field = None if numbered or migration.writes == "Frozen" else migration.change_field
    row: dict[str, Any] = {
        "mode": migration.writes,
        "guarantee": guarantee(
            WriteMode(migration.writes), fence=migration.promotion.fence == "WhenBusy", by_field=by_field
        ),
        "passes": session.writes.passes,
        "caughtUp": session.writes.caught_up,
    }
    proof = session.writes.proof
    if proof:
        row["cutOver"] = {k: v for k, v in proof.items() if v is not None}
        row["proof"] = _in_words(proof) + (f" (the last pass went by {by_field})" if by_field else "")
    return row


def _in_words(proof: Mapping[str, Any]) -> str:
    if proof["opNumBefore"] is None or proof["opNumAfter"] is None:
        return f"two scans of all versions without a difference; {proof['lateWrites']} late writes drained"
    if proof["opNumBefore"] == proof["opNumAfter"]:
        return "no shard's op_num moved from before the last pass until after the switch: no write was missed"
    return f"{proof['lateWrites']} writes reached the old collection during the switch and were carried over"


def _retained(found: Found) -> list[dict[str, Any]]:
    if found.observed is None or found.desired is None:
        return list(found.resource.status.get("retained") or ())
    rows = []
    for name, state in sorted(found.observed.states.items()):
        replaced = state.marks.replaced
        if replaced and ours(state, found.desired.identity) and state is not found.serving:
            rows.append(
                {
                    "collection": name,
                    "schemaVersion": state.schema.schema_version,
                    "revision": state.revision,
                    "retainUntil": iso(replaced.at + found.desired.keep_for),
                }
            )
    return rows


def _history(found: Found) -> list[dict[str, Any]]:
    before = list(found.resource.status.get("history") or ())
    known = {(row.get("to"), row.get("finishedAt")) for row in before}
    fresh = [row for row in found.session.history if (row["to"], row["finishedAt"]) not in known]
    found.session.history = found.session.history[-HISTORY:]
    return [*reversed(fresh), *before][:HISTORY]


def _forecast(found: Found) -> dict[str, Any] | None:
    if found.session.forecast is None or found.decision is None or found.decision.plan.source is None:
        return None
    figures = found.session.forecast.as_json()
    del figures["embeddingTexts"]
    return figures
