"""Probes: searches as readers make them, before and after the cut-over. The watch compares their figures.

Both sides are searched by the vectors of the same points. The vectors of two encoders cannot be compared, but the
latency of a search can. Points that are gone are replaced by an arbitrary vector, so that a collection which has
lost everything still answers, with no hit. A probe that is refused or times out has failed. A probe that cannot
reach Qdrant does not count, neither as answered nor as failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from uuid import UUID

from teal.domain.errors import TealError, TransientError
from teal.domain.marks import Baseline, Watched
from teal.domain.observed import CollectionState
from teal.domain.percentile import percentile
from teal.migration.context import Context
from teal.qdrant import wire
from teal.qdrant.points import Query, any_search

POINTS = 20
LIMIT = 10
ROUNDS = 3
PROBE_SECONDS = 5.0
ROUND_SECONDS = 5.0
AWAY = ("QdrantUnreachable", "QdrantTLSFailed")


@dataclass
class Figures:
    """The figures of some probes: seconds of the answered ones, and how many failed or found nothing."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    empty: int = 0
    away: str | None = None

    @property
    def median(self) -> float | None:
        return median(self.seconds) if self.seconds else None

    @property
    def p95(self) -> float | None:
        """The 95th percentile of the seconds."""
        return percentile(self.seconds, 0.95) if self.seconds else None

    @property
    def error_rate(self) -> float | None:
        made = len(self.seconds) + self.failed
        return self.failed / made if made else None


@dataclass(frozen=True)
class Questions:
    """The vectors to search by, one for each probe, and the vector's name in the collection."""

    name: str
    vectors: tuple[Query, ...]


async def ask(ctx: Context, questions: Questions) -> Figures:
    """One round of searches through the alias; it ends early where each takes long."""
    figures, clock = Figures(), ctx.clock
    began = clock.monotonic()
    for vector in questions.vectors:
        await _one(ctx, questions.name, vector, figures)
        if figures.away or clock.monotonic() - began > ROUND_SECONDS:
            break
    return figures


async def _one(ctx: Context, name: str, vector: Query, figures: Figures) -> None:
    began = ctx.clock.monotonic()
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            hits = await ctx.server.points.query(ctx.desired.alias, vector, LIMIT, name=name)
    except TimeoutError:
        figures.failed += 1
    except TealError as error:
        if error.reason in AWAY:
            figures.away = error.message
        else:
            figures.failed += 1
    else:
        figures.seconds.append(ctx.clock.monotonic() - began)
        figures.empty += not hits


async def questions(ctx: Context, state: CollectionState, points: Sequence[str]) -> Questions:
    """The vectors that these points have on this side."""
    name, anything = any_search(state.schema)
    vectors = await _own(ctx, state, name, [_raw(point) for point in points])
    if not vectors and not state.schema.vectors:
        # An arbitrary sparse vector may find nothing, so the vectors of other points are used.
        vectors = await _own(ctx, state, name, await _some(ctx, state))
    return Questions(name, tuple(vectors) or (anything,) * max(1, len(points)))


async def _own(ctx: Context, state: CollectionState, name: str, points: Sequence[wire.RawId]) -> list[Query]:
    stored = await ctx.server.points.fetch(state.name, points, payload=False)
    read = wire.read_dense if state.schema.vectors else wire.read_sparse
    own = [read(point.vectors, name) for point in stored]
    return [vector for vector in own if vector is not None and len(vector)]


async def _some(ctx: Context, state: CollectionState) -> list[wire.RawId]:
    async for page in ctx.server.points.ids(state.name, page=POINTS):
        return page
    return []


async def prepare_watch(ctx: Context, before: CollectionState) -> None:
    """Take the baseline that the watch of `subject` will need, once for each migration."""
    migration, known = ctx.the_subject().marks.migration, ctx.the_subject().marks.baseline
    if migration is None or not ctx.options.watch.duration or (known and known.migration == migration.id):
        return
    await take_baseline(ctx, before, migration.id)


async def take_baseline(ctx: Context, before: CollectionState, migration: str) -> None:
    """Measure `before`, the serving collection, and keep its figures on the one that is to replace it.

    Raises:
        TransientError: it does not answer, so the watch would have nothing to compare with.
    """
    points = [wire.id_text(point) for point in await _some(ctx, before)]
    asked = await questions(ctx, before, points)
    await ask(ctx, asked)  # the first round warms up
    rounds = [await ask(ctx, asked) for _ in range(ROUNDS)]
    whole = Figures(
        [seconds for each in rounds for seconds in each.seconds],
        sum(each.failed for each in rounds),
        sum(each.empty for each in rounds),
    )
    if whole.median is None or whole.p95 is None:
        raise TransientError(
            "NoBaseline",
            f"{before.name} answers no search through {ctx.desired.alias!r}, so there is nothing to compare with "
            "after the cut-over.",
        )
    answered = bool(points) and not whole.empty
    baseline = Baseline(migration, tuple(points), whole.median, whole.p95, whole.error_rate or 0.0, answered)
    await ctx.server.mark(ctx.subject, baseline, clear=(Watched.KEY,))


def _raw(point: str) -> wire.RawId:
    return wire.raw_id(int(point)) if point.isdecimal() else wire.raw_id(UUID(point))
