"""What is remembered of one resource between two steps, in this process only.

It makes the next step cheap: the ledger of copied versions, a pass half-way, measured rates. It may be lost at any
moment, because everything that decides correctness is in Qdrant.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from teal.domain.change_field import Watermark
from teal.domain.forecast import Forecast
from teal.domain.ledger import Ledger, RawId
from teal.domain.marks import Frozen
from teal.domain.stale import Lately
from teal.migration.verification.background import Running
from teal.qdrant.collection import Quiescence
from teal.qdrant.pool import Server


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
    frozen: Frozen | None = None
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
