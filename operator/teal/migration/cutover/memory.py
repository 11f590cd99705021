"""What one attempt of a cut-over remembers between two steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from teal.domain.ledger import RawId
from teal.migration.copying.copy_pass import Announce
from teal.migration.session import Part
from teal.qdrant.collection import Quiescence


@dataclass
class CutoverMemory(Part, survives_plan=False):
    """One attempt's memory; losing it only costs another attempt. `since`: its first look, a monotonic time."""

    since: float | None = None
    before: Quiescence | None = None
    still_passes: int = 0
    new_side: dict[RawId, int] | None = None
    drained: bool = False
    all_known: bool = True
    highest: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RollbackInput:
    """What the cut-over of a rollback needs, because applications may have written to the retained collection too.

    Attributes:
        in_step: the versions of the new side at which both sides were last in step; `None` if that is not known.
        announce: write-ahead log; called with the points of every batch before they are written to the new side.
    """

    in_step: Mapping[RawId, int] | None
    announce: Announce
