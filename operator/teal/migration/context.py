"""What a step is given and what it answers.

A step does a bounded piece of work and returns; nothing else runs between reconciles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from teal.domain.marks import Declined
from teal.domain.observed import CollectionState, Observed
from teal.domain.ownership import ours
from teal.domain.plan import Desired, Plan, Strategy
from teal.domain.transitions import Event
from teal.domain.writes import WriteMode
from teal.migration.clock import Clock
from teal.migration.contract import Note
from teal.migration.options import Options
from teal.migration.session import Session
from teal.migration.verification.comparison import Judged
from teal.qdrant.pool import Server
from teal.sources.embedder import Embedder

SLICE_SECONDS = 2.0
"""How long one piece of work may take."""


@dataclass(frozen=True)
class Result:
    """What a step did. With an `event` its effect is durable and the stage moves on.

    `outcome` is said where a migration has ended by it, for the history.
    """

    event: Event | None = None
    notes: tuple[Note, ...] = ()
    requeue_after: float = 0.0
    detail: str = ""
    outcome: str | None = None


@dataclass(frozen=True)
class Context:
    """One resource's migration in hand: what is wanted, what was seen, and the tools to change it."""

    desired: Desired
    options: Options
    plan: Plan
    observed: Observed
    server: Server
    session: Session
    clock: Clock
    subject: str
    embedder: Embedder | None = None
    source_embedder: Embedder | None = None
    judged: Judged | None = None
    declined: Declined | None = None
    status: Mapping[str, Any] = field(default_factory=dict)

    @property
    def writes(self) -> WriteMode:
        """The mode that holds on this way. Going back is always caught up: nobody promised anything for it."""
        return WriteMode.CATCH_UP if self.plan.strategy is Strategy.SWITCH_BACK else self.options.writes

    @property
    def unnumbered_by(self) -> str | None:
        """The change field where it is all that the last pass can go by: Qdrant numbers no changes of blue."""
        return self.options.change_field if self.source and not self.source.schema.vectors else None

    @property
    def in_step(self) -> Any:
        """What is remembered of keeping source and subject in step, where both are live."""
        return self.session.pairs.get((self.plan.source, self.subject))

    @property
    def source(self) -> CollectionState | None:
        return self.observed.state(self.plan.source)

    @property
    def subject_state(self) -> CollectionState | None:
        return self.observed.state(self.subject)

    @property
    def mine(self) -> Mapping[str, CollectionState]:
        """The collections of this resource, by name."""
        states, identity = self.observed.states, self.desired.identity
        return {name: state for name, state in states.items() if ours(state, identity)}

    def the_source(self) -> CollectionState:
        """Blue, where a step cannot run without one."""
        if self.source is None:
            raise LookupError(f"{self.plan.source} was not observed")
        return self.source

    def the_subject(self) -> CollectionState:
        if self.subject_state is None:
            raise LookupError(f"{self.subject} was not observed")
        return self.subject_state
