"""What is remembered of one pair between two rounds, and what status shows of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from teal.domain.buckets import Buckets
from teal.domain.epoch import Scan
from teal.domain.in_step import OneWay
from teal.domain.marks import InStep
from teal.domain.rest import Numbers
from teal.migration.context import Context
from teal.migration.copying.ledgers import Ledgers
from teal.migration.session import Part
from teal.migration.sync.notes import OpenPoints
from teal.migration.sync.write_ahead import WriteAheadLog
from teal.qdrant.wire import RawId

WORTH_SHOWING = 60


class UnderWay(Protocol):
    """A round that is not over (`round.Round`)."""

    left_at: float
    took: float
    only: OneWay | None

    def stop(self) -> None:
        """Ask for nothing more."""
        ...


@dataclass
class PairMemory:
    """What is remembered of one pair between rounds.

    Attributes:
        ledgers: what both sides held when they were last in step; `target` is the newer one, `source` the other.
        by_marks: the parts of which no round of this process has left nothing over, so that the marks decide.
        noted: what an earlier process noted, as long as `by_marks` is not empty.
        sums: the noted sums of each collection, and since then what Teal has carried there; so other points of a
            bucket stay proven.
        covered: by part, the scans of the newer and the retained side after which nothing was left over.
        at_rest: the numbers of both sides when the last round began that left nothing over.
        to_serving, to_retained: how many points were copied.
        uncarried: the digests of points that could not be carried, by the collection that they stand on.
        unsettled: the digests on both sides of points of which nobody knows which side changed.
        exact: whether all that this round took for unchanged is.
        moved, took: how many points the last round before a rollback wrote, and how many seconds it took.
        seen_all: whether the last round has seen all that was sent before it.
        leftover: whether the last round with both directions left something over.
        kept: points that were not deleted because it looked like a loss.
    """

    newer: str
    retained: str
    due: float = 0.0
    round: UnderWay | None = None
    ledgers: Ledgers | None = None
    by_marks: set[int] = field(default_factory=set)
    noted: InStep | None = None
    sums: dict[str, Buckets] = field(default_factory=dict)
    covered: dict[int, tuple[Scan, Scan]] = field(default_factory=dict)
    at_rest: tuple[Numbers | None, Numbers | None] = (None, None)
    to_serving: int = 0
    to_retained: int = 0
    conflicts: int = 0
    samples: list[str] = field(default_factory=list)
    uncarried: dict[str, dict[RawId, int]] = field(default_factory=dict)
    unsettled: dict[RawId, tuple[int, int]] = field(default_factory=dict)
    log: WriteAheadLog = field(init=False)
    moved: int = 0
    took: float = 0.0
    exact: bool = True
    seen_all: bool = True
    leftover: bool = False
    kept: int = 0
    reason: str | None = None
    last: float = 0.0

    def __post_init__(self) -> None:
        self.log = WriteAheadLog(self.newer, self.retained)

    @property
    def the_ledgers(self) -> Ledgers:
        """The ledgers, where a round has begun."""
        if self.ledgers is None:
            raise LookupError("no round has begun")
        return self.ledgers

    @property
    def left_behind(self) -> int:
        """Points that one side has and the other cannot be given."""
        return sum(map(len, self.uncarried.values()))

    @property
    def open(self) -> OpenPoints:
        """The points that are not in step."""
        return OpenPoints(self.unsettled, self.uncarried)

    @property
    def complete(self) -> bool:
        """Whether both sides hold the same, as far as the last round has seen."""
        return not (self.left_behind or self.unsettled)

    def forget(self) -> None:
        """Nothing is known any more: the next round goes by the marks."""
        self.stop()
        if self.ledgers is not None:
            self.ledgers.drop()
        self.ledgers, self.at_rest = None, (None, None)
        self.by_marks.clear()
        self.sums.clear()
        self.covered.clear()

    def take_over(self, ledgers: Ledgers) -> None:
        """A cut-over leaves both sides in step, as `ledgers` have it: `target` is the newer one."""
        self.forget()
        self.ledgers = ledgers
        for part, scans in enumerate(zip(ledgers.target.scans, ledgers.source.scans, strict=True)):
            newer, retained = scans
            if newer is not None and retained is not None:
                self.covered[part] = (newer, retained)

    def stop(self) -> None:
        """Give up the round that is under way."""
        if self.round is not None:
            self.round.stop()
            self.round = None

    def as_json(self, now: float) -> dict[str, Any]:
        lag = round(now - self.last) if self.last else 0
        row: dict[str, Any] = {
            "collection": self.retained,
            "lagSeconds": lag if lag > WORTH_SHOWING else 0,
            "toServing": self.to_serving,
            "toRetained": self.to_retained,
            "conflicts": self.conflicts,
            "leftBehind": self.left_behind,
        }
        if self.unsettled:
            row["unsettled"] = len(self.unsettled)
        if self.samples:
            row["samples"] = self.samples
        if self.reason:
            row["reason"] = self.reason
        return row


@dataclass
class PairMemories(Part, survives_plan=True):
    """The memory of every pair that is kept in step, by the names of the newer and of the older collection.

    The pair of what serves and what served right before comes first.
    """

    pairs: dict[tuple[str, str], PairMemory] = field(default_factory=dict)

    @property
    def newest(self) -> PairMemory | None:
        return next(iter(self.pairs.values()), None)

    @property
    def due(self) -> float | None:
        """The monotonic time of the next round; `None` where nothing is kept in step."""
        return min((memory.due for memory in self.pairs.values()), default=None)

    def of(self, newer: str, older: str) -> PairMemory:
        """That of one pair, made empty when it is first asked for."""
        return self.pairs.setdefault((newer, older), PairMemory(newer, older))

    def keep_only(self, names: Iterable[tuple[str, str]]) -> None:
        """These are all pairs, in this order."""
        self.pairs = {(newer, older): self.of(newer, older) for newer, older in names}

    def clear(self) -> None:
        """Another collection serves, so there are other pairs."""
        self.server_changed()
        self.pairs.clear()

    def stop(self) -> None:
        for memory in self.pairs.values():
            if memory.round is not None:
                memory.round.stop()

    def server_changed(self) -> None:
        """A round holds the connections that it began on."""
        for memory in self.pairs.values():
            memory.stop()


def of(ctx: Context) -> PairMemory | None:
    """That of the plan's source and the subject, where both are live."""
    return ctx.session.part(PairMemories).pairs.get((ctx.plan.source or "", ctx.subject))
