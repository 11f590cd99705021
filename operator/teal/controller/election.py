"""Who may hold a Lease, and until when: the rules, without a clock, a task or an API server.

Invariant: at no moment do two candidates hold it. The holder counts from when it *sent* its last acknowledged
renewal, everybody else from when they *saw* it, which is later, and waits longer. So nobody's wall clock is
trusted, and monotonic clocks may run some percent apart. Every write tests the version that was read: of two who
find the Lease free, one is answered "conflict".

    0                    5                    10           13       15 s
    renewal sent ─ renew again ─ ... ─ deadline: lost ── end ─── others may take it

Who has lost it begins nothing any more, cancels what runs (whose last act may be to lift a fence) and is gone by
`end`. client-go's election is the model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

NAME = "teal-operator"
NEVER = float("-inf")


@dataclass(frozen=True)
class Place:
    """Where a Lease is."""

    namespace: str
    name: str = NAME

    @classmethod
    def of(cls, served: Sequence[str], own: str) -> Self:
        """The Lease of who serves these namespaces (none: all), and is itself in the namespace `own`.

        Operators for different namespaces must not wait for each other, those for the same ones must, wherever
        they run: one namespace has its Lease in it, several have one named after them, all have it in `own`.
        """
        if len(served) == 1:
            return cls(served[0])
        if not served:
            return cls(own)
        digest = hashlib.sha256(" ".join(sorted(set(served))).encode()).hexdigest()
        return cls(own, f"{NAME}-{digest[:8]}")

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Timing:
    """Seconds. `deadline`, `end` and `duration` are the marks of the module's picture."""

    renew: float = 5.0
    retry: float = 2.0
    deadline: float = 10.0
    end: float = 13.0
    duration: int = 15


@dataclass(frozen=True)
class Record:
    """What a Lease says; its times are for people."""

    holder: str = ""
    seconds: float = 0.0
    acquired: str = ""
    renewed: str = ""
    transitions: int = 0

    @classmethod
    def parse(cls, lease: Mapping[str, Any]) -> Self:
        """A `coordination.k8s.io/v1` Lease, in which everything is optional."""
        spec = lease.get("spec") or {}
        return cls(
            spec.get("holderIdentity") or "",
            spec.get("leaseDurationSeconds") or 0,
            spec.get("acquireTime") or "",
            spec.get("renewTime") or "",
            spec.get("leaseTransitions") or 0,
        )

    def as_spec(self) -> dict[str, Any]:
        return {
            "holderIdentity": self.holder,
            "leaseDurationSeconds": int(self.seconds),
            "acquireTime": self.acquired,
            "renewTime": self.renewed,
            "leaseTransitions": self.transitions,
        }


class Elector:
    """What one candidate knows, and what follows from it. Pure: times (of its own clock) are arguments."""

    def __init__(self, me: str, timing: Timing) -> None:
        self.me = me
        self._timing = timing
        self._record: Record | None = None
        self._since = NEVER
        self.version: str | None = None
        """Of the Lease as it was last read or written; `None`: there is none."""
        self.until = NEVER
        """So long we hold it."""

    @property
    def holder(self) -> str:
        """Who held it when we last looked."""
        return self._record.holder if self._record else ""

    @property
    def displaced(self) -> bool:
        """Somebody else holds it now."""
        return self.holder not in ("", self.me)

    def held(self, now: float) -> bool:
        return now < self.until

    def saw(self, record: Record | None, version: str | None, now: float) -> None:
        """The API server has just shown the Lease."""
        if record != self._record:
            self._since = now
        self._record, self.version = record, version
        if self.displaced:
            self.until = NEVER

    def is_free(self, now: float) -> bool:
        """Whether we may write ourselves into it."""
        if self._record is None or not self.displaced:
            return True
        return now >= self._since + (self._record.seconds or self._timing.duration)

    def claim(self, wall: str) -> Record:
        """What to write: ours from now on, or still."""
        old = self._record or Record()
        is_ours = old.holder == self.me
        return Record(
            self.me,
            self._timing.duration,
            old.acquired if is_ours else wall,
            wall,
            old.transitions + (not is_ours and self._record is not None),
        )

    def release(self, wall: str) -> Record:
        """Hold it no more; what to write so that others need not wait."""
        self.until = NEVER
        return replace(self._record or Record(), holder="", seconds=1, renewed=wall)

    def wrote(self, record: Record, version: str, sent: float) -> None:
        """Our write, sent then, was acknowledged."""
        self._record, self.version, self._since = record, version, sent
        self.until = sent + self._timing.deadline if record.holder == self.me else NEVER
