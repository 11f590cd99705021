"""A payload field that grows with every write: from which value on a pass has to look.

Invariant: whatever is written after a pass has begun carries at least the highest value that had been seen by
then. So a pass misses nothing that raised the field if it looks from the value that was the highest when the pass
*before* it began: what was written earlier, that one saw. Equal values may still come and are looked at again.

A value is a number or a moment, all of one collection of one kind. What has another kind, or none, is not found by
the field; it is counted, to be told.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from teal.domain.ledger import RawId

Value = float | datetime
SAMPLES = 3
EXACT = 2**53
"""Up to here a double holds every integer."""


def read(found: Any) -> Value | None:
    """What a payload's field says, rounded down if it must be; `None` where that has no order."""
    if isinstance(found, bool):
        return None
    if isinstance(found, int | float):
        value = float(found)
        return math.nextafter(value, -math.inf) if abs(value) >= EXACT else value if math.isfinite(value) else None
    if not isinstance(found, str) or found[4:5] != "-":
        return None  # a number in quotes is no date to Qdrant
    try:
        moment = datetime.fromisoformat(found)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@dataclass
class Watermark:
    """The highest value seen so far, and where the next pass may begin to look (`None`: it must look at all)."""

    name: str | None = None
    highest: Value | None = None
    floor: Value | None = None
    without: int = 0
    samples: list[RawId] = field(default_factory=list)

    def complete(self, at_begin: Value | None) -> None:
        """A pass is over, at whose beginning `highest` was `at_begin`: the next one may look from there on."""
        self.floor = at_begin

    def see(self, points: Iterable[tuple[RawId, Any]]) -> None:
        """The field of points that were read."""
        for point, found in points:
            value = read(found)
            if value is None or not isinstance(value, type(self.highest or value)):
                self.without += 1
                self.samples = [*self.samples, point][:SAMPLES]
            elif self.highest is None or value > self.highest:  # type: ignore[operator]  # of one kind
                self.highest = value
