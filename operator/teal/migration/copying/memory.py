"""What copying remembers between two steps: what is on green, and the figures that status shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from teal.domain.change_field import Watermark
from teal.domain.ledger import Ledger, RawId
from teal.domain.marks import Frozen
from teal.migration.session import Part


@dataclass
class CopyMemory(Part, survives_plan=False):
    """What passes start from.

    Attributes:
        ledger: the versions at which points were copied; `None` until a scan is complete.
        watermark: how far the change field has been read.
        frozen: the fingerprint of all versions, which must not change while writes are promised to be paused.
        pass_seconds: how long the last pass took.
        pass_changes: how many points the last pass copied or deleted.
        checkpoint_at: the monotonic time of the last checkpoint.
    """

    ledger: Ledger | None = None
    watermark: Watermark = field(default_factory=Watermark)
    frozen: Frozen | None = None
    pass_seconds: float = 0.0
    pass_changes: int = 0
    checkpoint_at: float = 0.0

    @property
    def the_ledger(self) -> Ledger:
        """The ledger, where a scan has been made."""
        if self.ledger is None:
            raise LookupError("nothing was scanned yet")
        return self.ledger


@dataclass
class Progress(Part, survives_plan=False):
    """Points of the running population; `rate` is points per second over the last slices."""

    done: int = 0
    total: int = 0
    rate: float = 0.0
    throttled: str | None = None


@dataclass
class Writes(Part, survives_plan=False):
    """What all passes have written. `kept`: points not deleted, because their loss looks like an accident."""

    passes: int = 0
    copied: int = 0
    caught_up: int = 0
    deleted: int = 0
    kept: int = 0


@dataclass
class Touched(Part, survives_plan=False):
    """Points of green that Teal itself wrote or deleted, so that its writes are not taken for the application's.

    Nothing is recorded before `watch`: only a cut-over needs it, and a population would record every point.
    """

    _points: set[RawId] | None = None

    def watch(self) -> None:
        """Record from now on, beginning with none."""
        self._points = set()

    def record(self, points: Iterable[RawId]) -> None:
        """These have been written or deleted."""
        if self._points is not None:
            self._points.update(points)

    def pending(self) -> list[RawId]:
        """Those whose versions have not been read since."""
        return list(self._points or ())

    def settled(self, points: Iterable[RawId]) -> None:
        """The versions of these have been read."""
        if self._points is not None:
            self._points.difference_update(points)
