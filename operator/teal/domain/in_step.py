"""Two live collections, written to on both sides: which point has to go where.

Pure, and decided point by point from two questions: did it change on the serving side since both were in step,
and did it change on the retained side? What changed on both is a conflict, and the newer side of the cut-over (the
serving one) wins. Where a crash leaves it open whether a point is new on one side or gone from the other, it is
taken to be new: an acknowledged write is never dropped on suspicion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from teal.domain.ledger import RawId

Versions = Mapping[RawId, int]


@dataclass
class Diff:
    """What to do. `to_serving` and `to_retained` say which way points go; values are the versions that were seen.

    `conflicts` are among `to_retained` and `drop_retained`: the serving side wins.
    """

    to_serving: dict[RawId, int] = field(default_factory=dict)
    to_retained: dict[RawId, int] = field(default_factory=dict)
    drop_serving: list[RawId] = field(default_factory=list)
    drop_retained: list[RawId] = field(default_factory=list)
    conflicts: list[RawId] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.to_serving or self.to_retained or self.drop_serving or self.drop_retained)


@dataclass(frozen=True)
class SideVersions:
    """One collection: `known` are the versions at which both sides were in step, `seen` the present ones."""

    known: Versions
    seen: Versions

    def changed(self, point: RawId) -> bool:
        """There, and new or moved."""
        return point in self.seen and self.known.get(point) != self.seen[point]

    def gone(self, point: RawId) -> bool:
        """Was there, and is not."""
        return point in self.known and point not in self.seen


def is_loss(gone: int, left: int) -> bool:
    """Whether so many points have gone that it is a loss: nobody's deleting, and not to be carried over."""
    return gone > left


def compare_sides(serving: SideVersions, retained: SideVersions) -> Diff:
    """Everything by which the two sides fell out of step."""
    found = Diff()
    for point in {*serving.seen, *serving.known, *retained.seen, *retained.known}:
        _decide(point, serving, retained, found)
    return found


def _decide(point: RawId, serving: SideVersions, retained: SideVersions, found: Diff) -> None:
    touched_here = serving.changed(point) or serving.gone(point) or _vanished(point, serving, retained)
    touched_there = retained.changed(point) or retained.gone(point)
    if touched_here and touched_there and not (serving.gone(point) and retained.gone(point)):
        found.conflicts.append(point)
    if touched_here:
        _from_serving(point, serving, retained, found)
    elif retained.changed(point):
        found.to_serving[point] = retained.seen[point]
    elif retained.gone(point) and point in serving.seen:
        found.drop_serving.append(point)


def _vanished(point: RawId, serving: SideVersions, retained: SideVersions) -> bool:
    """The retained side still has it as it was when both had it, and the serving side does not: it was deleted.

    Not the other way round: a point may be on the serving side alone because it could not be taken back.
    """
    unmoved = point in retained.seen and not retained.changed(point)
    return unmoved and point not in serving.seen


def _from_serving(point: RawId, serving: SideVersions, retained: SideVersions, found: Diff) -> None:
    if point in serving.seen:
        found.to_retained[point] = serving.seen[point]
    elif point in retained.seen:
        found.drop_retained.append(point)
