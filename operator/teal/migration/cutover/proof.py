"""The evidence of a cut-over, and what may be said of it.

*Proved* is said only if from before the last pass until after the cut-over nothing but Teal's own barriers was
applied on the old side: `domain.rest.why_not_at_rest`. The last barrier follows when every peer shows the alias,
the requests that had resolved it before are over, and the fence is lifted. Anything else is told as what it is:
how many writes came late and were copied, how many of these were in conflict with a write on the new side, and why
nothing more is proved. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from teal.migration.session import Part

Mode = Literal["Quiet", "Fenced", "Unfenced"]


@dataclass(frozen=True)
class Proof:
    """How the alias moved. The `op_num`s are those of the old side's replicas, `None` where no peer tells them.

    Attributes:
        mode: how the old side came to rest: at a quiet moment, under the fence, or not at all.
        unproved: why it is not proved that no other operation was applied; `None`: it is.
        barriers: Teal's own operations between the two looks.
        barrier_passed: whether a barrier passed under the fence, or at the quiet moment.
        late_writes: writes that reached the old side while the alias moved, and were copied to the new side.
        conflicts: late writes to points that were written on the new side, too, which has won.
        fence_millis: how long writers were held back.
        trusted_field: the change field, if the last pass looked only at what it leads to.
    """

    mode: Mode
    unproved: str | None
    op_num_before: tuple[int, ...] | None = None
    op_num_after: tuple[int, ...] | None = None
    barriers: int = 0
    barrier_passed: bool = False
    late_writes: int = 0
    conflicts: int = 0
    alias_millis: float = 0.0
    fence_millis: float = 0.0
    trusted_field: str | None = None

    @property
    def proved(self) -> bool:
        return self.unproved is None

    def as_json(self) -> dict[str, Any]:
        row = {
            "switch": self.mode,
            "proved": self.proved,
            "opNumBefore": _listed(self.op_num_before),
            "opNumAfter": _listed(self.op_num_after),
            "barriers": self.barriers,
            "lateWrites": self.late_writes,
            "conflicts": self.conflicts,
            "aliasMillis": self.alias_millis,
            "fenceMillis": self.fence_millis,
            "trustedField": self.trusted_field,
        }
        return {name: value for name, value in row.items() if value is not None}


PROVED = (
    "no write was missed: from before the last pass until after the cut-over, op_num rose on every replica by "
    "Teal's own barriers alone"
)
TRUSTED = " (if every write raises {0}: the last pass looked only at points that {0} shows as changed)"
LATE = "{late} late writes were copied to the new collection, {conflicts} were in conflict with a write there"
NOTHING_LATE = "no late write was found"
HELD = "Writers were held back while the alias moved"
RESTED = ", and a barrier showed the old collection at rest"
UNHELD = "Writers were not held back while the alias moved"
WAS_QUIET = "The old collection was quiet when the alias moved, and writers were not held back"


def in_words(proof: Proof) -> str:
    """What is known, and never more."""
    return _evidence(proof) + (TRUSTED.format(proof.trusted_field) if proof.trusted_field else "")


def _evidence(proof: Proof) -> str:
    if proof.proved:
        return PROVED
    found = (
        LATE.format(late=proof.late_writes, conflicts=proof.conflicts)
        if proof.late_writes or proof.conflicts
        else NOTHING_LATE
    )
    return f"not proved ({proof.unproved}): {found}. {_circumstances(proof)}."


def _circumstances(proof: Proof) -> str:
    if proof.fence_millis:
        return HELD + (RESTED if proof.barrier_passed else "")
    return WAS_QUIET if proof.mode == "Quiet" else UNHELD


def _listed(numbers: tuple[int, ...] | None) -> list[int] | None:
    return None if numbers is None else list(numbers)


@dataclass
class LastCutover(Part, survives_plan=False):
    """The proof of this plan's cut-over, `None` before it and after a restart."""

    proof: Proof | None = None
