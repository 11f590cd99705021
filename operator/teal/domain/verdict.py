"""What verification found: one `Check` for each question, and the verdict over all of them.

Failed, Error and Inconclusive are different. *Failed*: the question was asked and the answer is bad; the
migration is held. *Error*: the question could not be asked; it is asked again. *Inconclusive*: it was asked and
the answer decides nothing (for example, there are too few points). Then a gate that the user set pauses the
migration and is asked again; any other check is informational and does not block.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    PASSED = "Passed"
    FAILED = "Failed"
    ERROR = "Error"
    INCONCLUSIVE = "Inconclusive"


@dataclass(frozen=True)
class Check:
    """One question's answer; `observed` and `threshold` are in the unit that `message` names.

    `gate`: the user set a threshold for it, so an inconclusive answer does not let the migration go on.
    """

    name: str
    verdict: Verdict
    message: str
    observed: float | None = None
    threshold: float | None = None
    samples: tuple[str, ...] = ()
    gate: bool = False

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"name": self.name, "verdict": self.verdict.value, "message": self.message}
        if self.observed is not None:
            found["observed"] = str(round(self.observed, 6))
        if self.threshold is not None:
            found["threshold"] = str(round(self.threshold, 6))
        if self.samples:
            found["samples"] = list(self.samples[:10])
        return found


def overall(checks: Iterable[Check]) -> Verdict:
    """The worst of all: one failure fails the migration, one error or inconclusive gate asks again."""
    shown_only = Verdict.INCONCLUSIVE
    found = {check.verdict for check in checks if check.gate or check.verdict is not shown_only}
    for worst in (Verdict.FAILED, Verdict.ERROR, Verdict.INCONCLUSIVE):
        if worst in found:
            return worst
    return Verdict.PASSED
