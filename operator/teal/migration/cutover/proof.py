"""The evidence that a cut-over lost no write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from teal.migration.session import Part


@dataclass(frozen=True)
class Proof:
    """How the alias moved. The `op_num`s are those of the old side's shards, `None` where no peer tells them.

    Attributes:
        mode: at a quiet moment, under the fence, or without either.
        late_writes: writes that reached the old side while the alias moved, and were copied to the new side.
        fence_millis: how long writers were held back.
    """

    mode: Literal["Quiet", "Fenced", "Unfenced"]
    op_num_before: tuple[int, ...] | None = None
    op_num_after: tuple[int, ...] | None = None
    late_writes: int = 0
    alias_millis: float = 0.0
    fence_millis: float = 0.0

    def as_json(self) -> dict[str, Any]:
        row = {
            "switch": self.mode,
            "opNumBefore": _listed(self.op_num_before),
            "opNumAfter": _listed(self.op_num_after),
            "lateWrites": self.late_writes,
            "aliasMillis": self.alias_millis,
            "fenceMillis": self.fence_millis,
        }
        return {name: value for name, value in row.items() if value is not None}


def _listed(numbers: tuple[int, ...] | None) -> list[int] | None:
    return None if numbers is None else list(numbers)


@dataclass
class LastCutover(Part, survives_plan=False):
    """The proof of this plan's cut-over, `None` before it and after a restart."""

    proof: Proof | None = None
