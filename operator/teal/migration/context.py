"""What a step is given and what it answers.

A step does a bounded piece of work and returns; nothing else runs between reconciles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from teal.domain.marks import Declined
from teal.domain.observed import CollectionState, Observed
from teal.domain.ownership import Mine
from teal.domain.plan import Desired, Plan, Strategy
from teal.domain.policy import Decision, View
from teal.domain.transitions import Event
from teal.domain.writes import WriteMode
from teal.migration.clock import Clock
from teal.migration.contract import Note, ReadJudgedQueries
from teal.migration.options import Options
from teal.migration.session import Session
from teal.qdrant.pool import Server
from teal.sources.embedder import Embedder

SLICE_SECONDS = 2.0
"""How long one piece of work may take."""
RETIRED = "Retired"
"""The outcome of a collection that was deleted after its retention."""


@dataclass(frozen=True)
class Result:
    """What a step did. With an `event` its effect is durable and the stage moves on.

    `outcome` is set where it ended a migration, or a retention, for the history.
    """

    event: Event | None = None
    notes: tuple[Note, ...] = ()
    requeue_after: float = 0.0
    detail: str = ""
    outcome: str | None = None


class Encoders(Protocol):
    """The encoders that a resource names, each made at its first use; `None` if it cannot be called."""

    async def own(self) -> Embedder | None:
        """The encoder of the EmbeddingSet as it is declared now."""
        ...

    async def of(self, state: CollectionState) -> Embedder | None:
        """The encoder that made the vectors of `state`."""
        ...

    async def other(self, state: CollectionState) -> Embedder | None:
        """The encoder that the marks of `state` name, if it has the EmbeddingSet's URL."""
        ...

    def judged(self) -> ReadJudgedQueries | None:
        """Reads the judged queries of the resource."""
        ...


@dataclass(frozen=True)
class Context:
    """What a step is given: what is declared, what was observed, what was decided, and the tools to act."""

    view: View
    decision: Decision
    options: Options
    server: Server
    session: Session
    clock: Clock
    until: float
    """The monotonic time at which this step should return."""
    encoders: Encoders
    embedder: Embedder | None = None
    """The encoder of the plan's target, where its vectors are made anew."""

    @property
    def desired(self) -> Desired:
        return self.view.desired

    @property
    def observed(self) -> Observed:
        return self.view.observed

    @property
    def plan(self) -> Plan:
        return self.decision.plan

    @property
    def subject(self) -> str:
        """The name of the collection that the decision is about."""
        return self.decision.subject or self.desired.target

    @property
    def declined(self) -> Declined | None:
        return self.decision.declined

    @property
    def writes(self) -> WriteMode:
        """The write mode of this cut-over. A rollback always catches up, whatever `writes` says."""
        return WriteMode.CATCH_UP if self.plan.strategy is Strategy.ROLLBACK else self.options.writes

    @property
    def trusted_field(self) -> str | None:
        """The change field, if the last passes may go by it, too."""
        trusted = self.options.trust_change_field and self.writes is WriteMode.CATCH_UP
        return self.options.change_field if trusted else None

    @property
    def source(self) -> CollectionState | None:
        return self.observed.state(self.plan.source)

    @property
    def subject_state(self) -> CollectionState | None:
        return self.observed.state(self.subject)

    @property
    def mine(self) -> Mine:
        """The collections of this resource, by name."""
        return self.view.mine

    def the_source(self) -> CollectionState:
        """Blue, where a step cannot run without one."""
        if self.source is None:
            raise LookupError(f"{self.plan.source} was not observed")
        return self.source

    def the_subject(self) -> CollectionState:
        if self.subject_state is None:
            raise LookupError(f"{self.subject} was not observed")
        return self.subject_state
