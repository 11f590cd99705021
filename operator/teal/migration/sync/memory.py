"""What is remembered of one pair between two rounds, and what status shows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from teal.migration.sync.rounds import Round

from dataclasses import dataclass, field
from typing import Any

from teal.domain.ledger import RawId
from teal.migration.sync.write_ahead import WriteAheadLog
from teal.qdrant.collection import Quiescence

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
