"""The status: a report that is made from scratch, so it can be lost. Nothing is decided from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teal.domain.actions import Refusal
from teal.domain.marks import Declined, StoredVerdict, Watched
from teal.domain.observed import CollectionState
from teal.domain.ownership import mine
from teal.domain.plan import Strategy
from teal.domain.policy import Decision
from teal.domain.writes import WriteMode, guarantee
from teal.migration.clock import iso
from teal.migration.contract import Outcome
from teal.migration.copying.forecast import Cost
from teal.migration.copying.memory import Progress, Writes
from teal.migration.cutover.proof import LastCutover, in_words
from teal.migration.report import refused_actions
from teal.migration.report.conditions import conditions, phase
from teal.migration.report.record import History, ReconcileRecord
from teal.migration.session import Session
from teal.migration.steps.watch import WatchMemory
from teal.migration.sync.memory import PairMemories

HISTORY = 10


def outcome(record: ReconcileRecord) -> Outcome:
    """Everything that the host needs to know."""
    return Outcome(
        status=status(record),
        notes=(*record.notes, *refused_actions.notes(_refused(record), record.resource.status)),
        requeue_after=record.requeue_after,
        failed=record.failed,
        finished=record.finished,
        endpoint=record.endpoint,
        needs_guard=record.needs_guard,
    )


def status(record: ReconcileRecord) -> dict[str, Any]:
    """The whole status, JSON-ready and without nulls."""
    whole = {
        "observedGeneration": record.resource.generation,
        "phase": phase(record),
        "alias": record.resource.manifest.alias,
        "active": _active(record) or _kept(record, "active"),
        "migration": _migration(record),
        "retained": _retained(record),
        "history": _history(record),
        "forecast": _forecast(record),
        "refusedActions": refused_actions.as_json(_refused(record)),
        "conditions": conditions(record),
    }
    return {name: value for name, value in whole.items() if value not in (None, [], {})}


def _refused(record: ReconcileRecord) -> tuple[Refusal, ...]:
    if record.desired is None or record.observed is None or record.decision is None:
        return ()
    return refused_actions.refused(record.desired, record.observed, record.decision, record.resource.status)


def _kept(record: ReconcileRecord, name: str) -> Any:
    """What could not be observed this time stays as it was last reported."""
    return record.resource.status.get(name) if record.observed is None else None


def _active(record: ReconcileRecord) -> dict[str, Any] | None:
    serving = record.serving
    if serving is None:
        return None
    migration, main = serving.marks.migration, serving.schema.main
    since = migration.stage_since if migration else 0.0
    before = record.resource.status.get("active") or {}
    same = before.get("collection") == serving.name
    active: dict[str, Any] = {
        "collection": serving.name,
        "schemaVersion": serving.schema.schema_version,
        "revision": serving.revision,
        "points": serving.points,
        "since": before["since"] if same and before.get("since") else iso(since or record.now),
    }
    if main:
        active |= {"dimensions": main.size, "distance": main.distance.value}
    return active


def _migration(record: ReconcileRecord) -> dict[str, Any] | None:
    decision = record.decision
    if decision is None:
        return dict(record.resource.status.get("migration") or {}) or None
    if decision.plan.strategy in (Strategy.CREATE, Strategy.BLUE_GREEN, Strategy.ROLLBACK):
        return _under_way(record, decision)
    if decision.declined and decision.plan.source:
        return _stopped(record, decision, decision.declined)
    last = record.resource.status.get("migration")
    if not record.serving:
        return None
    if not last or not last.get("source") or last.get("target") != record.serving.name:
        newest = record.session.part(PairMemories).newest
        if newest is None:
            return None
        last = {"source": newest.retained, "target": record.serving.name}
    proved = record.session.part(LastCutover).proof
    writes = (_writes(record) if proved else dict(last.get("writes") or {})) | _in_step(record)
    row = {**last, "phase": phase(record), "writes": writes, "watch": _watch(record.serving, record.session, last)}
    if record.serving.marks.verdict:
        row["verification"] = _verification(record.serving.marks.verdict)
    return {name: value for name, value in row.items() if value not in (None, {}, [])}


def _in_step(record: ReconcileRecord) -> dict[str, Any]:
    """The figures of keeping in step, with the collection that served last where several are retained."""
    newest = record.session.part(PairMemories).newest
    return {"inStep": newest.as_json(record.now)} if newest else {}


def _under_way(record: ReconcileRecord, decision: Decision) -> dict[str, Any]:
    plan, target = decision.plan, record.target
    mark = target.marks.migration if target else None
    row: dict[str, Any] = {
        "planHash": plan.hash,
        "strategy": plan.strategy.value,
        "reasons": [*map(str, plan.reasons), *plan.warnings],
        "source": plan.source,
        "target": plan.target,
        "phase": phase(record),
        "progress": _progress(record.session.part(Progress)),
        "writes": _writes(record) | _in_step(record) if plan.source else {},
    }
    if mark:
        row |= {"id": mark.id, "startedAt": iso(mark.started_at), "attempts": mark.attempt}
    if target and target.marks.verdict:
        row["verification"] = _verification(target.marks.verdict)
    if record.error:
        row["lastError"] = record.error.message
    elif mark and mark.message:
        row["lastError"] = mark.message
    return {name: value for name, value in row.items() if value not in (None, {}, [])}


def _stopped(record: ReconcileRecord, decision: Decision, declined: Declined) -> dict[str, Any]:
    """The migration that was aborted or rolled back; what the last status said of it is kept."""
    last = record.resource.status.get("migration") or {}
    kept = last if last.get("id") == declined.id else {}
    writes = {**(kept.get("writes") or {}), **_in_step(record)}
    return {
        **kept,
        **({"writes": writes} if writes else {}),
        "id": declined.id,
        "planHash": declined.plan_hash,
        "source": decision.plan.source,
        "target": decision.plan.target,
        "phase": phase(record),
        "attempts": declined.attempt,
        "lastError": declined.message,
    }


def _watch(state: CollectionState, session: Session, last: Mapping[str, Any]) -> dict[str, Any]:
    """The figures that the watch of `state` compares, in milliseconds, and its progress.

    The watch's marks are cleared when it has ended; then the last report stays, with the figures of the last look.
    """
    migration = state.marks.migration
    if migration is None:
        return {}
    baseline, watched = state.marks.baseline, state.marks.watched or session.part(WatchMemory).watched
    row: dict[str, Any] = dict(last.get("watch") or {}) if last.get("id") == migration.id else {}
    if baseline and baseline.migration == migration.id:
        row |= {"medianMillisBefore": _millis(baseline.median), "p95MillisBefore": _millis(baseline.p95)}
    if watched.migration == migration.id:
        row = {name: value for name, value in row.items() if name.endswith("Before")} | _watched(watched)
    return row


def _watched(watched: Watched) -> dict[str, Any]:
    row: dict[str, Any] = {"watchedSeconds": round(watched.seconds)}
    if watched.p95 is not None:
        row["p95Millis"] = _millis(watched.p95)
    if watched.error_rate is not None:
        row["errorRate"] = round(watched.error_rate, 4)
    if watched.paused:
        row["paused"] = watched.paused
    return row


def _millis(seconds: float) -> float:
    return round(seconds * 1000, 2)


def _verification(mark: StoredVerdict) -> dict[str, Any]:
    row = mark.as_json()
    return {"verdict": row["verdict"], "checks": row["checks"]}


def _progress(progress: Progress) -> dict[str, Any]:
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


def _writes(record: ReconcileRecord) -> dict[str, Any]:
    written, migration = record.session.part(Writes), record.resource.manifest.spec.migration
    numbered = any(state and state.schema.vectors for state in (record.target, record.serving))
    field = migration.change_field
    trusted = field.name if field and field.trusted and migration.writes == "CatchUp" else None
    by_field = field.name if field and not (trusted or numbered or migration.writes == "Frozen") else None
    row: dict[str, Any] = {
        "mode": migration.writes,
        "guarantee": guarantee(
            WriteMode(migration.writes),
            fence=migration.promotion.fence == "WhenBusy",
            by_field=by_field,
            trusted_field=trusted,
        ),
        "passes": written.passes,
        "caughtUp": written.caught_up,
    }
    proof = record.session.part(LastCutover).proof
    if proof:
        row["cutOver"] = proof.as_json()
        row["proof"] = in_words(proof) + (
            f" (the last pass read only what {by_field} shows as changed)" if by_field else ""
        )
    return row


def _retained(record: ReconcileRecord) -> list[dict[str, Any]]:
    if record.observed is None or record.desired is None:
        return list(record.resource.status.get("retained") or ())
    rows = []
    for name, state in mine(record.observed, record.desired.identity).items():
        replaced = state.marks.replaced
        if replaced and state is not record.serving:
            rows.append(
                {
                    "collection": name,
                    "schemaVersion": state.schema.schema_version,
                    "revision": state.revision,
                    "retainUntil": iso(replaced.until(record.desired.keep_for)),
                }
            )
            if taken := state.marks.snapshots:
                rows[-1]["snapshot"] = "; ".join(map(str, taken.taken))
    return rows


def _history(record: ReconcileRecord) -> list[dict[str, Any]]:
    before = list(record.resource.status.get("history") or ())
    known = {(row.get("to"), row.get("finishedAt")) for row in before}
    history = record.session.part(History)
    fresh = [each.as_json() for each in history.finished if (each.target, each.finished_at) not in known]
    del history.finished[:-HISTORY]
    return [*reversed(fresh), *before][:HISTORY]


def _forecast(record: ReconcileRecord) -> dict[str, Any] | None:
    forecast = record.session.part(Cost).forecast
    if forecast is None or record.decision is None or record.decision.plan.source is None:
        return None
    figures = forecast.as_json()
    del figures["embeddingTexts"]
    return figures
