"""What one attempt of a cut-over remembers between two steps."""

from __future__ import annotations

from dataclasses import dataclass, field

from teal.domain.ledger import RawId
from teal.qdrant.collection import Quiescence


@dataclass
class CutoverMemory:
    """One attempt's memory: it lives in the session and may be lost, which only costs another attempt."""

    since: float
    before: Quiescence | None = None
    still_passes: int = 0
    new_side: dict[RawId, int] | None = None
    drained: bool = False
    dirty: set[RawId] = field(default_factory=set)
    all_known: bool = True
    highest: dict[str, int] = field(default_factory=dict)
