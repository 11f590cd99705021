"""Two collections to compare, and what every check needs to know of them.

They may be on different servers. Blue may be written to all the time, so a difference counts only for points that
have not moved on blue since green was brought to its state, which is `known`; and whether they have is asked after
both sides were read. So a point that was born, changed or deleted meanwhile is left out on both sides, even if it
lived only for a moment. Samples are the same on every run, so a verdict can be reproduced.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from teal.domain.keys import RawId
from teal.domain.observed import CollectionState
from teal.domain.schema import DenseVector
from teal.domain.tuning import Tuning
from teal.migration.clock import Clock
from teal.migration.contract import ReadJudgedQueries
from teal.migration.options import Options
from teal.migration.verification.known import Known
from teal.qdrant import wire
from teal.qdrant.admin import Admin
from teal.qdrant.points import Points
from teal.qdrant.pool import Server
from teal.qdrant.wire import Floats
from teal.sources.embedder import Embedder

T = TypeVar("T")

PAGE = 250
EVERY_POINT = 200_000
"""Up to this many points, all are checked; above, a sample of this size."""
PROBES = 100
"""Points by whose vectors both sides are searched."""


@dataclass(frozen=True)
class Side:
    """One of the two collections, as it was last observed."""

    server: Server
    state: CollectionState

    @property
    def name(self) -> str:
        return self.state.name

    @property
    def points(self) -> Points:
        return self.server.points

    @property
    def reads(self) -> Points:
        """For reads that are compared: from one replica of each shard, where that can be asked for."""
        return self.server.reads(self.state)

    @property
    def admin(self) -> Admin:
        return self.server.admin


@dataclass(frozen=True)
class Gates:
    """The thresholds. `None` means not set by the user: then the check's default holds, if it has one."""

    min_coverage: float = 1.0
    min_overlap: float | None = None
    min_recall: float | None = None
    max_latency_ratio: float | None = None


@dataclass(frozen=True)
class SideEncoders:
    """The embedder of each side; `None` if it cannot be called."""

    blue: Embedder | None = None
    green: Embedder | None = None
    text_field: str | None = None


@dataclass(frozen=True)
class Neighbour:
    """A sampled point, and its vector on each side (`None`: it has none there)."""

    id: RawId
    blue: Floats | None
    green: Floats | None


@dataclass
class Comparison:
    """What is compared and how.

    Attributes:
        known: what blue held when green was last brought to its state.
        same_vectors: green's vectors were copied from blue's; else another encoder made them.
        tuning: what green's configuration must be.
        sample: how many points are compared whole.
        warm_up: searches on each side before latency is measured.
        searches: searches on each side whose latency is measured.
        say: is called with a text about the progress.
    """

    blue: Side
    green: Side
    known: Known
    same_vectors: bool
    tuning: Tuning = field(default_factory=Tuning)
    gates: Gates = field(default_factory=Gates)
    sample: int = 1000
    encoders: SideEncoders = field(default_factory=SideEncoders)
    judged: ReadJudgedQueries | None = None
    clock: Clock = field(default_factory=Clock)
    warm_up: int = Options.latency_warm_up
    searches: int = Options.latency_searches
    say: Callable[[str], None] = lambda _: None
    _neighbours: dict[str, list[Neighbour]] = field(default_factory=dict)

    def extent(self, looked_at: int) -> str:
        """For a message: all points, or a sample."""
        every = looked_at >= len(self.known)
        return f"all {looked_at:,} points" if every else f"{looked_at:,} of {len(self.known):,} points, sampled"

    async def neighbours(self, vector: DenseVector) -> list[Neighbour]:
        """Up to `PROBES` sampled points with their vectors named `vector.name`. Points without one on green, or
        with a zero vector there, are left out: a search by a zero vector has no neighbours."""
        if vector.name not in self._neighbours:
            ids = await self.known.sampled(min(self.sample, PROBES))
            read = [await self._vectors(side, ids, vector.name) for side in (self.blue, self.green)]
            blue, green = read
            self._neighbours[vector.name] = [
                Neighbour(p, blue.get(p), green[p]) for p in ids if p in green and np.any(green[p])
            ]
        return self._neighbours[vector.name]

    async def _vectors(self, side: Side, ids: Sequence[RawId], name: str) -> dict[RawId, Floats]:
        if not any(vector.name == name for vector in side.state.schema.vectors):
            return {}
        found: dict[RawId, Floats] = {}
        for page in pages(ids):
            for point in await side.points.fetch(side.name, page, payload=False):
                if (row := wire.read_dense(point.vectors, name)) is not None and np.isfinite(row).all():
                    found[point.id] = row
        return found


def pages(items: Sequence[T], size: int = PAGE) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def samples(ids: Iterable[RawId]) -> tuple[str, ...]:
    """Up to ten ids as text: the smallest, so that they are the same on every run."""
    return tuple(wire.id_text(raw) for raw in heapq.nsmallest(10, ids, key=_in_order))


def _in_order(raw: RawId) -> tuple[int, int | str]:
    plain = wire.plain_id(raw)
    return (0, plain) if isinstance(plain, int) else (1, plain)
