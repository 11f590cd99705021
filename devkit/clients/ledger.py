"""The acknowledged writes: the reference for every migration.

An entry changes if and only if the server has acknowledged the write. Each writer owns the ids of its own
ledger, so no other client can have changed them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

PointId = int | str


@dataclass(frozen=True)
class Held:
    """One point: its exact payload, and the text of its vector, made by the encoder with key `encoder`.

    `vector_of` is usually the text of the payload, but a vector can be updated alone. (A text is never updated
    alone: a point whose text changed after its vector was made could be embedded before or after that, and both
    would be right.)
    """

    payload: dict[str, Any]
    vector_of: str
    encoder: str


@dataclass
class Ledger:
    """Points that must exist, ids that must not, and ids of failed writes, whose state is unknown."""

    points: dict[PointId, Held] = field(default_factory=dict)
    deleted: set[PointId] = field(default_factory=set)
    unsure: set[PointId] = field(default_factory=set)

    def put(self, point: PointId, held: Held) -> None:
        """`point` is now as `held` says."""
        self.points[point] = held
        self.deleted.discard(point)

    def delete(self, point: PointId) -> None:
        """`point` is gone."""
        del self.points[point]
        self.deleted.add(point)

    def doubt(self, point: PointId) -> None:
        """A write to `point` failed: it may have been applied or not, and no client writes to it again."""
        self.points.pop(point, None)
        self.deleted.discard(point)
        self.unsure.add(point)

    def split(self, parts: int) -> list[Ledger]:
        """This many disjoint ledgers for writers; together they are this one."""
        ledgers = [Ledger() for _ in range(parts)]
        for number, (point, held) in enumerate(self.points.items()):
            ledgers[number % parts].points[point] = held
        ledgers[0].deleted |= self.deleted
        ledgers[0].unsure |= self.unsure
        return ledgers

    @classmethod
    def merge(cls, ledgers: Iterable[Ledger]) -> Self:
        """One ledger of several disjoint ones."""
        merged = cls()
        for ledger in ledgers:
            merged.points |= ledger.points
            merged.deleted |= ledger.deleted
            merged.unsure |= ledger.unsure
        return merged

    def save(self, file: Path) -> None:
        """Write it as JSON, all or nothing. (A JSON object's keys are strings; ids are not, hence the pairs.)"""
        document = {
            "points": [[point, asdict(held)] for point, held in self.points.items()],
            "deleted": list(self.deleted),
            "unsure": list(self.unsure),
        }
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(document))
        partial.replace(file)

    @classmethod
    def load(cls, file: Path) -> Self:
        """What `save` wrote."""
        document = json.loads(file.read_text())
        return cls(
            points={point: Held(**held) for point, held in document["points"]},
            deleted=set(document["deleted"]),
            unsure=set(document["unsure"]),
        )
