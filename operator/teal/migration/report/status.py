"""The status, made of what was found: a report that can be thrown away and is made again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teal.domain.actions import Refusal
from teal.domain.decide import Decision
from teal.domain.marks import Declined
from teal.domain.observed import CollectionState
from teal.domain.ownership import ours
from teal.domain.plan import Strategy
from teal.domain.writes import WriteMode, guarantee
from teal.migration.clock import iso
from teal.migration.context import Session
from teal.migration.contract import Outcome
from teal.migration.report import refused_actions
from teal.migration.report.conditions import conditions, phase
from teal.migration.report.record import Found

HISTORY = 10


def outcome(found: Found) -> Outcome:
    """Everything that the host needs to know."""
    return Outcome(
        status=status(found),
        notes=(*found.notes, *refused_actions.notes(_refused(found), found.resource.status)),
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
        "refusedActions": refused_actions.as_json(_refused(found)),
        "conditions": conditions(found),
    }
    return {name: value for name, value in whole.items() if value not in (None, [], {})}


def _refused(found: Found) -> tuple[Refusal, ...]:
    if found.desired is None or found.observed is None or found.decision is None:
        return ()
    return refused_actions.refused(found.desired, found.observed, found.decision, found.resource.status)


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
        if not session.pairs:
            return None
        last = {"source": next(iter(session.pairs.values())).retained, "target": found.serving.name}
    writes = (_writes(found) if session.writes.proof else dict(last.get("writes") or {})) | _in_step(found)
    row = {**last, "phase": phase(found), "writes": writes, "watch": _watch(found.serving)}
    if found.serving.marks.verdict:
        row["verification"] = _verification(found.serving.marks.verdict)
    return {name: value for name, value in row.items() if value not in (None, {}, [])}


def _in_step(found: Found) -> dict[str, Any]:
    """Of the collection that served last, where several are retained."""
    newest = next(iter(found.session.pairs.values()), None)
    return {"inStep": newest.as_json(found.now)} if newest else {}


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
        "writes": _writes(found) | _in_step(found),
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
    writes = {**(kept.get("writes") or {}), **_in_step(found)}
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
                    "retainUntil": iso(replaced.until(found.desired.keep_for)),
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
