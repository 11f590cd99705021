"""Which collections are kept in step with each other."""

from __future__ import annotations

from dataclasses import dataclass, replace

from teal.domain.observed import CollectionState
from teal.domain.plan import same_encoder
from teal.migration.context import Context
from teal.migration.copying.transform import Transform, across
from teal.sources.embedder import Embedder


@dataclass(frozen=True)
class Pair:
    """The two sides, and the encoder of the retained one if it can be called."""

    serving: CollectionState
    retained: CollectionState
    retained_embedder: Embedder | None
    text_field: str | None

    def to_serving(self, ctx: Context) -> Transform | None:
        return across(ctx, self.retained, self.serving, ctx.embedder, self.text_field)

    def to_retained(self, ctx: Context) -> Transform | None:
        return across(ctx, self.serving, self.retained, self.retained_embedder, self.text_field)


async def paired(ctx: Context, newer: CollectionState, retained: CollectionState) -> tuple[Context, Pair]:
    """Two live collections; and the context, with the encoder of the newer one where vectors are made anew."""
    alike = same_encoder(newer, retained)
    there = None if alike else await ctx.encoders.of(newer)
    back = None if alike else await ctx.encoders.of(retained)
    return replace(ctx, embedder=there), Pair(newer, retained, back, ctx.desired.text_field)
