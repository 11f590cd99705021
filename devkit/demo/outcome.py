"""The demo's verdict, in figures: one line of JSON that a script can read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from devkit.clients import Audit, Counts
from devkit.demo.story import NEW_ENCODER, OLD_ENCODER


@dataclass
class Outcome:
    """The sums over the demo. `cutover_millis` is that of the longest cut-over."""

    seconds: float = 0.0
    points_migrated: int = 0
    cutover_millis: float = 0.0
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    excused_reads: int = 0
    """Failed reads that Teal did not cause, because the story had killed Qdrant."""
    more: dict[str, Any] = field(default_factory=dict)
    """Figures that only this story has."""

    def add(self, status: dict[str, Any], seconds: float) -> None:
        """Count in a change that is finished."""
        self.seconds += seconds
        migration = status.get("migration") or {}
        cutover = (migration.get("writes") or {}).get("cutOver") or {}
        if migration.get("target") == (status.get("active") or {}).get("collection"):
            self.points_migrated += (migration.get("progress") or {}).get("pointsTotal", 0)
            took = max(cutover.get("aliasMillis", 0.0), cutover.get("fenceMillis", 0.0))
            self.cutover_millis = max(self.cutover_millis, took)

    def as_json(self, counts: Counts, audit: Audit) -> dict[str, Any]:
        return {
            "reads": counts.reads,
            "failedReads": counts.failed_reads + counts.empty_reads - self.excused_reads,
            "reencoded": counts.reencoded,
            "writes": counts.all_writes,
            "failedWrites": counts.failed_writes,
            "lostWrites": audit.lost_writes + audit.unexpected,
            "pointsMigrated": self.points_migrated,
            "from": self.before,
            "to": self.after,
            "seconds": round(self.seconds, 1),
            "cutoverMillis": round(self.cutover_millis, 1),
            "longestWriterStallMillis": round(counts.longest_stall_millis, 1),
            **self.more,
        }


def served(status: dict[str, Any]) -> dict[str, Any]:
    """What the alias serves, for the line's `from` and `to`."""
    active = status["active"]
    model = {encoder["dimensions"]: encoder["model"] for encoder in (OLD_ENCODER, NEW_ENCODER)}
    served = {name: active[name] for name in ("schemaVersion", "dimensions", "distance")}
    return served | {"model": model[active["dimensions"]]}
