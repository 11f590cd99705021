"""From a point of the source to the point of the target: the same bytes, or the same payload with a new vector."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from teal.domain.content_digest import as_stored
from teal.domain.errors import HeldError, TealError
from teal.domain.keys import RawId
from teal.domain.observed import CollectionState
from teal.domain.plan import Population, same_encoder
from teal.domain.schema import UNNAMED, Schema
from teal.domain.stale import BloomFilter, RecentTextChanges
from teal.migration.context import Context
from teal.migration.session import Part
from teal.qdrant import wire
from teal.qdrant.wire import Floats, Point, RawPoint
from teal.sources.embedder import Embedder
from teal.sources.errors import EmbedderError, VectorError

Transform = Callable[[Sequence[RawPoint]], Awaitable[Sequence[RawPoint]]]
"""Raw points in, raw points out, same ids in the same order.

Raises:
    HeldError: a point cannot be carried over; its id is among the samples.
"""


@dataclass
class LeftBehind:
    """Points that could not be made, and why not, if one reason holds for all of them."""

    points: set[RawId] = field(default_factory=set)
    because: str | None = None


@dataclass
class ChangedTexts(Part, survives_plan=True):
    """Points whose text has changed recently, by collection.

    They are kept when a plan begins, because their vectors may still be older than their texts.
    """

    _by_collection: dict[str, RecentTextChanges] = field(default_factory=dict)

    def of(self, collection: str) -> RecentTextChanges:
        return self._by_collection.setdefault(collection, RecentTextChanges())

    def forget(self, collection: str) -> None:
        """The collection is gone."""
        self._by_collection.pop(collection, None)


async def unchanged(points: Sequence[RawPoint]) -> Sequence[RawPoint]:
    """Copying: Qdrant itself refuses a vector that does not fit."""
    return points


def transform_for(ctx: Context) -> Transform:
    """What the plan's population does with each point."""
    if ctx.plan.population is Population.COPY:
        return _copy(ctx)
    if ctx.embedder is None or not ctx.plan.text_field:
        raise LookupError("a plan that re-embeds has an embedder and a text field")
    return ReEmbed(ctx, ctx.the_source(), ctx.subject, ctx.plan.schema, ctx.embedder, ctx.plan.text_field)


def _copy(ctx: Context) -> Transform:
    """All vectors as they are; only if green has fewer, each point is decoded to leave the others out."""
    before, after = (names_of(schema) for schema in (ctx.the_source().schema, ctx.plan.schema))
    if before <= after:
        return unchanged

    async def fewer(points: Sequence[RawPoint]) -> Sequence[RawPoint]:
        return [Point(point.id, point.payload, wire.only(point.vectors, after)) for point in points]

    return fewer


def across(
    ctx: Context, one: CollectionState, other: CollectionState, embedder: Embedder | None, text_field: str | None
) -> Transform | None:
    """From one live collection to another, by the encoder of `other`; `None` if that cannot be called."""
    if same_encoder(one, other):
        return unchanged
    if embedder is None or text_field is None or len(other.schema.vectors) != 1:
        return None
    return ReEmbed(ctx, one, other.name, other.schema, embedder, text_field)


def stale_between(one: CollectionState, other: str) -> BloomFilter:
    """Points of `other` whose vector may be older than their text, so that it must not be reused for `one`."""
    return BloomFilter.read(one.marks.stale.get(other))


def names_of(schema: Schema) -> frozenset[str]:
    """The names of all vectors, dense and sparse."""
    return frozenset({vector.name for vector in schema.vectors} | set(schema.sparse))


class AsManyAsPossible:
    """Makes the points that can be made: keeping in step must not wait for an embedder. `left` gets the others."""

    def __init__(self, left: LeftBehind, make: Transform) -> None:
        self._left = left
        self._make = make

    async def __call__(self, points: Sequence[RawPoint]) -> Sequence[RawPoint]:
        made: list[RawPoint] = []
        try:
            made += [] if self._left.because else await self._make(points)
        except HeldError:
            made += await self._each(points)
        except TealError as error:
            if not _is_embedders(error):
                raise
            self._left.because = error.message
        done = {point.id for point in made}
        self._left.points -= done
        self._left.points.update(point.id for point in points if point.id not in done)
        return made

    async def _each(self, points: Sequence[RawPoint]) -> list[RawPoint]:
        """One by one, because one of them cannot be made and the others can."""
        made: list[RawPoint] = []
        for point in points:
            with suppress(HeldError):
                made += await self._make([point])
        return made


def _is_embedders(error: TealError) -> bool:
    return isinstance(error, EmbedderError) or error.reason in ("SecretNotFound", "SecretKeyNotFound")


class ReEmbed:
    """Makes each point's dense vector anew from one text field of its payload.

    A text that the target already has with a vector has been paid for: after a restart its vector is taken from
    the target, unless it may be stale, or a verification of the target has failed. Equal texts are embedded once
    (the embedder caches them).
    """

    def __init__(
        self,
        ctx: Context,
        source: CollectionState,
        target: str,
        schema: Schema,
        embedder: Embedder,
        text_field: str,
    ) -> None:
        self._ctx = ctx
        self._target = target
        self._lately = ctx.session.part(ChangedTexts).of(source.name)
        self._embedder = embedder
        self._field = text_field
        self._vector = schema.vectors[0]
        self._only_vector = not schema.sparse and self._vector.name == UNNAMED
        self._stale = stale_between(source, target)
        filled = ctx.observed.state(target)
        self._anew = bool(filled and filled.marks.migration and filled.marks.migration.anew)

    async def __call__(self, points: Sequence[RawPoint]) -> Sequence[RawPoint]:
        if not points:
            return points
        texts = self._texts(points)
        paid = await self._paid_for(points, texts)
        todo = [i for i, point in enumerate(points) if point.id not in paid]
        made = await self._embed([points[i] for i in todo], [texts[i] for i in todo])
        rows = (
            as_stored(np.asarray(made, np.float32), self._vector.distance, self._vector.datatype) if todo else ()
        )
        fresh = {points[i].id: row for i, row in zip(todo, rows, strict=True)}
        return [self._with(point, paid[point.id] if point.id in paid else fresh[point.id]) for point in points]

    def _texts(self, points: Sequence[RawPoint]) -> list[str]:
        texts = [wire.payload_value(point.payload, self._field) for point in points]
        missing = [
            p for p, text in zip(points, texts, strict=True) if not isinstance(text, str) or not text.strip()
        ]
        if missing:
            samples = tuple(wire.id_text(point.id) for point in missing)
            raise HeldError(
                "TextMissing",
                f"Point {samples[0]} has no text in its payload field {self._field!r}, so it cannot be embedded. "
                "Add the text, delete the point, or name another source.collection.textField.",
                samples,
            )
        return [str(text) for text in texts]

    async def _paid_for(self, points: Sequence[RawPoint], texts: Sequence[str]) -> dict[RawId, Floats]:
        there = await self._ctx.server.points.fetch(self._target, [p.id for p in points])
        on_green = {point.id: point for point in there}
        paid = {}
        for point, text in zip(points, texts, strict=True):
            green = on_green.get(point.id)
            known = green is not None and wire.payload_value(green.payload, self._field) == text
            self._see(point, new_text=green is not None and not known)
            row = wire.read_dense(green.vectors, self._vector.name) if green and known else None
            if self._anew or point.id in self._stale:
                continue
            if row is not None and len(row) == self._vector.size:
                paid[point.id] = row
        return paid

    def _see(self, point: RawPoint, *, new_text: bool) -> None:
        """Remember whether its vector may be older than its text. A new point has a vector of its own text."""
        row = wire.read_dense(point.vectors, self._vector.name)
        vector = b"" if row is None else row.tobytes()
        self._lately.see(point.id, vector, self._ctx.clock.monotonic(), new_text=new_text)

    async def _embed(self, points: Sequence[RawPoint], texts: Sequence[str]) -> Any:
        if not texts:
            return []
        try:
            return (await self._embedder.embed(texts, anew=self._anew)).vectors
        except VectorError as error:
            name = wire.id_text(points[error.index].id)
            raise HeldError(error.reason, f"Point {name}: {error.message}", (name,)) from error

    def _with(self, point: RawPoint, row: Any) -> RawPoint:
        if self._only_vector:
            return Point(point.id, point.payload, wire.dense_vectors([row])[0])
        return Point(point.id, point.payload, wire.with_dense(point.vectors, self._vector.name, row))
