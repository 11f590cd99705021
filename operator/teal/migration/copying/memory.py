"""What copying remembers between two steps: what is on green, and the figures that status shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from teal.domain.change_field import Watermark
from teal.domain.marks import Checkpoint, Frozen
from teal.migration.copying.ledgers import Ledgers
from teal.migration.session import Part


@dataclass
class CopyMemory(Part, survives_plan=False):
    """What passes start from.

    Attributes:
        ledgers: what is known of both sides; `None` before the first pass.
        watermark: how far the change field has been read.
        frozen: the fingerprint of all versions, which must not change while writes are promised to be paused.
        pass_seconds: how long the last pass took.
        pass_changes: how many points the last pass copied or deleted.
        pass_by_field: the change field, if the last pass looked only at what it leads to.
        pass_exact: whether all that the last pass took for unchanged is: by versions of one epoch, or by contents.
        checkpoint: what an earlier process has noted of its copies.
        checkpoint_at: the monotonic time of the last checkpoint.
    """

    ledgers: Ledgers | None = None
    watermark: Watermark = field(default_factory=Watermark)
    frozen: Frozen | None = None
    pass_seconds: float = 0.0
    pass_changes: int = 0
    pass_by_field: str | None = None
    pass_exact: bool = False
    checkpoint: Checkpoint | None = None
    checkpoint_at: float = 0.0

    @property
    def the_ledgers(self) -> Ledgers:
        """The ledgers, where a pass has been made."""
        if self.ledgers is None:
            raise LookupError("nothing was scanned yet")
        return self.ledgers

    def lose(self) -> None:
        """Nothing is known any more: what the target holds is seeded again, and contents decide."""
        if self.ledgers is not None:
            self.ledgers.drop()
        self.ledgers = None


@dataclass
class Progress(Part, survives_plan=False):
    """Points of the running population; `rate` is points per second over the last slices."""

    done: int = 0
    total: int = 0
    rate: float = 0.0
    throttled: str | None = None


@dataclass
class Writes(Part, survives_plan=False):
    """What all passes have written."""

    passes: int = 0
    copied: int = 0
    caught_up: int = 0
    deleted: int = 0
