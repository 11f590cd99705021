"""Who may hold a Lease, and until when: the rules, without a clock, a task or an API server.

Invariant: two candidates never hold the Lease at the same time. The holder counts from the time at which it
*sent* its last acknowledged renewal. All others count from the time at which they *saw* it, which is later, and
wait longer. So no wall clock is trusted, and monotonic clocks may differ by some percent. Every write is a
compare-and-set on the version that was read: if two candidates find the Lease free, one of them gets a conflict.

    0                    5                    10           13       15 s
    renewal sent ─ renew again ─ ... ─ deadline: lost ── end ─── others may take it

A holder that lost the Lease starts nothing new, cancels what runs (whose last action may be to lift a fence),
and exits by `end`. The model is client-go's leader election.
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
    """Namespace and name of a Lease."""

    namespace: str
    name: str = NAME

    @classmethod
    def of(cls, served: Sequence[str], own: str) -> Self:
        """The Lease for an operator that serves these namespaces (none: all) and runs in the namespace `own`.

        Operators that serve different namespaces must not wait for each other; operators that serve the same
        ones must, wherever they run. One namespace: the Lease is in it. Several: it is in `own`, named after
        them. All: in `own`.
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
    """Seconds. `deadline`, `end` and `duration` are marked in the picture of this module."""

    renew: float = 5.0
    retry: float = 2.0
    deadline: float = 10.0
    end: float = 13.0
    duration: int = 15


@dataclass(frozen=True)
class Record:
    """The content of a Lease; its times are for people."""

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
    """What one candidate knows, and the conclusions. Pure: times (of its own clock) are arguments."""

    def __init__(self, me: str, timing: Timing) -> None:
        self.me = me
        self._timing = timing
        self._record: Record | None = None
        self._since = NEVER
        self.version: str | None = None
        """The version of the Lease that was last read or written; `None`: there is none."""
        self.until = NEVER
        """Until this time we hold it."""

    @property
    def holder(self) -> str:
        """Who held it at the last look."""
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
        """Whether we may write ourselves as the holder."""
        if self._record is None or not self.displaced:
            return True
        return now >= self._since + (self._record.seconds or self._timing.duration)

    def claim(self, wall: str) -> Record:
        """The Lease to write, to take it or to renew it."""
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
        """Give it up; the Lease to write, so that others need not wait."""
        self.until = NEVER
        return replace(self._record or Record(), holder="", seconds=1, renewed=wall)

    def wrote(self, record: Record, version: str, sent: float) -> None:
        """Our write, sent at that time, was acknowledged."""
        self._record, self.version, self._since = record, version, sent
        self.until = sent + self._timing.deadline if record.holder == self.me else NEVER
