"""What is remembered of one pair between two rounds, and what status shows of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from teal.domain.in_step import Diff
from teal.domain.ledger import RawId
from teal.migration.context import Context
from teal.migration.copying.scan import Scan
from teal.migration.session import Part
from teal.migration.sync.write_ahead import WriteAheadLog
from teal.qdrant.collection import Quiescence

WORTH_SHOWING = 60

Rest = tuple[Quiescence | None, Quiescence | None]
"""The `op_num`s of the serving and of the retained side; `None` where they cannot be read."""


@dataclass
class UnfinishedRound:
    """How far a round (`sync/rounds.py`) has come, for the step that goes on with it.

    Attributes:
        rest: both sides' `op_num`s when it began.
        only_to_retained: nothing is written to the serving side.
        diff: what is left to write; `None` while both sides are scanned.
        ahead: the retained side has changes that were not written to the serving one.
        left_at: the monotonic time at which the last step left it.
    """

    serving: Scan
    retained: Scan
    rest: Rest
    only_to_retained: bool
    left_at: float
    took: float = 0.0
    diff: Diff | None = None
    ahead: bool = False


@dataclass
class PairMemory:
    """What is remembered of one pair between rounds.

    `to_serving` and `to_retained` count the points that were copied; `uncarried_…` are those that could not be.
    """

    retained: str
    due: float = 0.0
    round: UnfinishedRound | None = None
    known_serving: dict[RawId, int] | None = None
    known_retained: dict[RawId, int] | None = None
    at_rest: Rest = (None, None)
    to_serving: int = 0
    to_retained: int = 0
    conflicts: int = 0
    samples: list[str] = field(default_factory=list)
    uncarried_to_retained: dict[RawId, int] = field(default_factory=dict)
    uncarried_to_serving: dict[RawId, int] = field(default_factory=dict)
    carried: WriteAheadLog = field(init=False)
    kept: int = 0
    reason: str | None = None
    last: float = 0.0

    def __post_init__(self) -> None:
        self.carried = WriteAheadLog(self.retained)

    @property
    def left_behind(self) -> int:
        """Points that one side has and the other cannot be given."""
        return len(self.uncarried_to_retained) + len(self.uncarried_to_serving)

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
        if self.samples:
            row["samples"] = self.samples
        if self.reason:
            row["reason"] = self.reason
        return row


@dataclass
class PairMemories(Part, survives_plan=False):
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
        return self.pairs.setdefault((newer, older), PairMemory(older))

    def keep_only(self, names: Iterable[tuple[str, str]]) -> None:
        """These are all pairs, in this order."""
        self.pairs = {(newer, older): self.of(newer, older) for newer, older in names}

    def clear(self) -> None:
        """Another collection serves, so there are other pairs."""
        self.pairs.clear()

    def server_changed(self) -> None:
        """A round holds the connections that it began on."""
        for memory in self.pairs.values():
            memory.round = None


def of(ctx: Context) -> PairMemory | None:
    """That of the plan's source and the subject, where both are live."""
    return ctx.session.part(PairMemories).pairs.get((ctx.plan.source or "", ctx.subject))
