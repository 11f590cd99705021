"""What a step is given, what it answers, and what is remembered between two steps of one migration.

A step does a bounded piece of work and returns; nothing else runs between reconciles. The `Session` holds what
makes the next piece cheap (the ledger of copied versions, a pass half-way, measured rates). It may be lost at
any moment: everything that decides correctness is in Qdrant.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from teal.domain.change_field import Watermark
from teal.domain.forecast import Forecast
from teal.domain.ledger import Ledger, RawId
from teal.domain.marks import Declined
from teal.domain.observed import CollectionState, Observed
from teal.domain.plan import Desired, Plan, Strategy
from teal.domain.stale import Lately
from teal.domain.transitions import Event
from teal.domain.watching import Rules
from teal.domain.windows import Window
from teal.domain.writes import WriteMode
from teal.migration.clock import Clock
from teal.migration.contract import Note
from teal.migration.verification.background import Running
from teal.migration.verification.comparison import Judged
from teal.qdrant.collection import Quiescence
from teal.qdrant.pool import Server
from teal.sources.embedder import Embedder

SLICE_SECONDS = 2.0


@dataclass(frozen=True)
class Hook:
    """A request around the switch; `timeout` in seconds for each of `retries` + 1 attempts."""

    url: str
    timeout: float = 30.0
    retries: int = 3


@dataclass(frozen=True)
class Query:
    """A Prometheus query and the range that its value must stay in."""

    name: str
    query: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Options:
    """How to migrate: the resource's `migration`, `verification` and `watch`, in plain units (seconds)."""

    parallelism: int = 4
    batch: int = 500
    embedding_batch: int = 32
    max_read_latency: float | None = None
    change_field: str | None = None
    writes: WriteMode = WriteMode.CATCH_UP
    fence: bool = True
    quiet_wait: float = 300.0
    max_fence: float = 10.0
    min_coverage: float = 1.0
    sample: int = 1000
    min_overlap: float | None = None
    min_recall: float | None = None
    max_latency_ratio: float | None = None
    manual: bool = False
    windows: tuple[Window, ...] = ()
    before_switch: Hook | None = None
    after_switch: Hook | None = None
    watch: Rules = field(default_factory=Rules)
    prometheus: str | None = None
    queries: tuple[Query, ...] = ()
    keep_for: float = 172800.0
    snapshot: bool = True
    max_tokens: int | None = None


@dataclass
class Progress:
    """Points of the running population; `rate` is points per second over the last slices."""

    done: int = 0
    total: int = 0
    rate: float = 0.0
    throttled: str | None = None


@dataclass
class Writes:
    """What was done so that no write is lost, and what proves it."""

    passes: int = 0
    copied: int = 0
    caught_up: int = 0
    deleted: int = 0
    left_behind: set[RawId] = field(default_factory=set)
    left_because: str | None = None
    kept: int = 0
    proof: dict[str, Any] = field(default_factory=dict)


@dataclass
class Session:
    """The memory of one resource's migration, in this process only."""

    plan_hash: str = ""
    server: Server | None = None
    ledger: Ledger | None = None
    running_pass: Any = None
    watermark: Watermark = field(default_factory=Watermark)
    progress: Progress = field(default_factory=Progress)
    writes: Writes = field(default_factory=Writes)
    forecast: Forecast | None = None
    last_pass_seconds: float = 0.0
    last_pass_changes: int = 0
    checkpoint_at: float = 0.0
    ready_polls: int = 0
    step_since: float = 0.0
    cutover: dict[str, Any] = field(default_factory=dict)
    verification: Running | None = None
    unverified: int = 0
    judged: Quiescence | None = None
    frozen: dict[str, str] | None = None
    pairs: dict[tuple[str | None, str], Any] = field(default_factory=dict)
    """What keeps live collections in step, by the names of the newer and of the retained one: newest first."""
    fresh_until: float = 0.0
    hook: asyncio.Task[str | None] | None = None
    watch: Any = None
    touched: set[RawId] = field(default_factory=set)
    lately: defaultdict[str, Lately] = field(default_factory=lambda: defaultdict(Lately))
    noted: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    failures: int = 0

    @property
    def the_ledger(self) -> Ledger:
        """What was copied, where a scan has been made."""
        if self.ledger is None:
            raise LookupError("nothing was scanned yet")
        return self.ledger

    def begin(self, plan_hash: str, *, afresh: bool = False) -> None:
        """Start afresh for another plan, or another green; a plan that goes on keeps what is known."""
        if afresh or self.plan_hash != plan_hash:
            self.stop()
            fresh = Session(plan_hash, self.server, lately=self.lately, noted=self.noted, history=self.history)
            self.__dict__.update(fresh.__dict__)

    def use(self, server: Server) -> None:
        """What goes on between two steps holds the connections it began on: with another key it begins again."""
        if self.server not in (None, server):
            self.stop()
            for memory in self.pairs.values():
                memory.round = None
        self.server = server

    def stop(self) -> None:
        """Cancel what goes on between two steps."""
        if self.running_pass is not None:
            self.running_pass.cancel()
            self.running_pass = None
        if self.verification is not None:
            self.verification.cancel()
            self.verification = None
        if self.hook is not None:
            self.hook.cancel()
            self.hook = None


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

    def the_source(self) -> CollectionState:
        """Blue, where a step cannot run without one."""
        if self.source is None:
            raise LookupError(f"{self.plan.source} was not observed")
        return self.source

    def the_subject(self) -> CollectionState:
        if self.subject_state is None:
            raise LookupError(f"{self.subject} was not observed")
        return self.subject_state
