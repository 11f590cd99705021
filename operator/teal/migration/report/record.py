"""The record of one reconcile, filled as it goes: everything that the report is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from teal.api.values import format_duration
from teal.domain.errors import TealError
from teal.domain.observed import CollectionState, Observed
from teal.domain.ownership import ours
from teal.domain.plan import Desired, Identity, Strategy
from teal.domain.policy import Decision
from teal.domain.transitions import Event
from teal.migration.clock import iso
from teal.migration.context import RETIRED, Result
from teal.migration.contract import Note, Resource
from teal.migration.copying.memory import Progress
from teal.migration.session import Part, Session

MESSAGE = 1000
"""Characters of a message in the history."""


@dataclass
class ReconcileRecord:
    """The record of one reconcile, filled as it goes."""

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
    needs_guard: bool | None = None
    identity: Identity | None = None
    """Which collections are ours, also where the spec could not be resolved to `desired`."""

    def the_desired(self) -> Desired:
        """What is declared, once it has been resolved."""
        if self.desired is None:
            raise LookupError("the spec has not been resolved yet")
        return self.desired

    def take(self, result: Result) -> None:
        """What a step answered."""
        self.notes += result.notes
        self.detail = result.detail
        self.requeue_after = result.requeue_after

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


@dataclass(frozen=True)
class Finished:
    """One migration that has ended, for `status.history`."""

    id: str | None
    source: str
    target: str
    outcome: str
    points: int
    duration: str
    finished_at: str
    message: str

    def as_json(self) -> dict[str, Any]:
        return {
            **({"id": self.id} if self.id else {}),
            "from": self.source,
            "to": self.target,
            "outcome": self.outcome,
            "points": self.points,
            "duration": self.duration,
            "finishedAt": self.finished_at,
            "message": self.message,
        }


@dataclass
class History(Part, survives_plan=True):
    """Migrations that have ended in this process, kept in case their status was not written."""

    finished: list[Finished] = field(default_factory=list)


def remember(record: ReconcileRecord, result: Result) -> None:
    """Keep what a finished migration or retention leaves in `history`, until the status has been written."""
    decision = record.decision
    if decision is None:
        return
    if result.outcome == RETIRED:
        _remember_retired(record, decision, result)
    if decision.plan.source is None:
        return
    by_event = {Event.CUT_OVER: "Promoted", Event.FAILED: "Held"}
    outcome = result.outcome or (by_event.get(result.event) if result.event else None)
    if outcome is None:
        return
    migration = record.target.marks.migration if record.target else None
    _keep(
        record, result, outcome, decision.plan.source, decision.plan.target,
        points=record.session.part(Progress).total,
        began=migration.started_at if migration else record.now,
        id=migration.id if migration else None,
    )  # fmt: skip


def _remember_retired(record: ReconcileRecord, decision: Decision, result: Result) -> None:
    """When a collection was deleted after its retention, and where its snapshots are."""
    retired = record.observed.state(decision.subject) if record.observed else None
    replaced = retired.marks.replaced if retired else None
    _keep(
        record, result, RETIRED, decision.subject or "", decision.plan.target,
        points=retired.points if retired else 0,
        began=replaced.at if replaced else record.now,
    )  # fmt: skip


def _keep(
    record: ReconcileRecord,
    result: Result,
    outcome: str,
    source: str,
    target: str,
    *,
    points: int,
    began: float,
    id: str | None = None,  # noqa: A002 - the name in status
) -> None:
    """One row of the history; `began` is when it began, in seconds since the epoch."""
    seconds = max(0, round(record.now - began))
    message = "; ".join(note.message for note in result.notes)[:MESSAGE]
    row = Finished(
        id, source, target, outcome, points, format_duration(timedelta(seconds=seconds)), iso(record.now), message
    )
    record.session.part(History).finished.append(row)
