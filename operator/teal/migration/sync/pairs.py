"""Which collections are kept in step with each other."""

from __future__ import annotations

from dataclasses import dataclass

from teal.domain.observed import CollectionState
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
