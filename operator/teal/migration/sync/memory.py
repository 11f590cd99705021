"""What is remembered of one pair between two rounds, and what status shows of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from teal.domain.ledger import RawId
from teal.migration.context import Context
from teal.migration.session import Part
from teal.migration.sync.write_ahead import WriteAheadLog
from teal.qdrant.collection import Quiescence

if TYPE_CHECKING:
    from teal.migration.sync.rounds import Round

WORTH_SHOWING = 60


@dataclass
class SyncMemory:
    """What is remembered between rounds, and what status shows."""

    retained: str
    due: float = 0.0
    round: Round | None = None
    known_serving: dict[RawId, int] | None = None
    known_retained: dict[RawId, int] | None = None
    at_rest: tuple[Quiescence | None, Quiescence | None] = (None, None)
    forth: int = 0
    back: int = 0
    conflicts: int = 0
    samples: list[str] = field(default_factory=list)
    left_back: dict[RawId, int] = field(default_factory=dict)
    left_forth: dict[RawId, int] = field(default_factory=dict)
    carried: WriteAheadLog = field(init=False)
    kept: int = 0
    reason: str | None = None
    last: float = 0.0

    def __post_init__(self) -> None:
        self.carried = WriteAheadLog(self.retained)

    @property
    def left_behind(self) -> int:
        """Points that one side has and the other cannot be given."""
        return len(self.left_back) + len(self.left_forth)

    def as_json(self, now: float) -> dict[str, Any]:
        lag = round(now - self.last) if self.last else 0
        row: dict[str, Any] = {
            "collection": self.retained,
            "lagSeconds": lag if lag > WORTH_SHOWING else 0,
            "toServing": self.forth,
            "toRetained": self.back,
            "conflicts": self.conflicts,
            "leftBehind": self.left_behind,
        }
        if self.samples:
            row["samples"] = self.samples
        if self.reason:
            row["reason"] = self.reason
        return row


@dataclass
class InStep(Part, survives_plan=False):
    """The memory of every pair that is kept in step, by the names of the newer and of the older collection.

    The pair of what serves and what served right before comes first.
    """

    pairs: dict[tuple[str, str], SyncMemory] = field(default_factory=dict)

    @property
    def newest(self) -> SyncMemory | None:
        return next(iter(self.pairs.values()), None)

    @property
    def due(self) -> float | None:
        """The monotonic time of the next round; `None` where nothing is kept in step."""
        return min((memory.due for memory in self.pairs.values()), default=None)

    def of(self, newer: str, older: str) -> SyncMemory:
        """That of one pair, made empty when it is first asked for."""
        return self.pairs.setdefault((newer, older), SyncMemory(older))

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


def of(ctx: Context) -> SyncMemory | None:
    """That of the plan's source and the subject, where both are live."""
    return ctx.session.part(InStep).pairs.get((ctx.plan.source or "", ctx.subject))
