"""A payload field that grows with every write, as a high-water mark: from which value on a pass has to read.

Invariant: whatever is written after a pass has begun carries at least the highest value that had been seen by
then. So a pass misses nothing that raised the field if it reads from the value that was the highest when the pass
*before* it began: that pass saw what was written earlier. Points with an equal value may still arrive, so they are
read again.

A value is a number or a date; all values of one collection have one of these types. Points with another type, or
without the field, cannot be found by it; they are counted, for a warning.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from teal.domain.keys import RawId

Value = float | datetime
SAMPLES = 3
EXACT = 2**53
"""Up to here a double holds every integer."""


def read(found: Any) -> Value | None:
    """The value of a payload's field, rounded down where a double is not exact; `None` if it has no order."""
    if isinstance(found, bool):
        return None
    if isinstance(found, int | float):
        value = float(found)
        return math.nextafter(value, -math.inf) if abs(value) >= EXACT else value if math.isfinite(value) else None
    if not isinstance(found, str) or found[4:5] != "-":
        return None  # Qdrant does not read a number in quotes as a date
    try:
        moment = datetime.fromisoformat(found)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@dataclass
class Watermark:
    """The highest value seen so far, and from which one the next pass may read (`None`: it reads all points).

    `without` counts points that cannot be found by the field, until somebody has been told; `incomplete` says for
    good whether there were any.
    """

    name: str | None = None
    highest: Value | None = None
    floor: Value | None = None
    without: int = 0
    samples: list[RawId] = field(default_factory=list)
    incomplete: bool = False

    def complete(self, at_begin: Value | None) -> None:
        """A pass is complete that began when `highest` was `at_begin`: the next one may read from there on."""
        self.floor = at_begin

    def see(self, points: Iterable[tuple[RawId, Any]]) -> None:
        """Note the field of points that were read."""
        for point, found in points:
            value = read(found)
            if value is None or not isinstance(value, type(self.highest or value)):
                self.without, self.incomplete = self.without + 1, True
                self.samples = [*self.samples, point][:SAMPLES]
            elif self.highest is None or value > self.highest:  # type: ignore[operator]  # of one kind
                self.highest = value
