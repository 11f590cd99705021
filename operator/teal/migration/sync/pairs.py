"""Which collections are kept in step with each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from teal.domain.observed import CollectionState
from teal.migration.context import Context
from teal.migration.copying.transform import Transform, across
from teal.sources.embedder import Embedder


@dataclass(frozen=True)
class Pair:
    """The two sides, and the encoder of the retained one if it can be asked."""

    serving: CollectionState
    retained: CollectionState
    back_embedder: Embedder | None
    text_field: str | None

    def forth(self, ctx: Context) -> Transform | None:
        return across(ctx, self.retained, self.serving, ctx.embedder, self.text_field)

    def back(self, ctx: Context) -> Transform | None:
        return across(ctx, self.serving, self.retained, self.back_embedder, self.text_field)


def pairs_of(
    serving: CollectionState | None, mine: Sequence[CollectionState]
) -> list[tuple[CollectionState, CollectionState]]:
    """Which collections are kept in step, each with the one that replaced it: the newest pair first.

    Where several are retained, what is written to the oldest goes up to the serving one by those in between, and
    what is written there comes down.
    """
    found: list[tuple[CollectionState, CollectionState]] = []
    newer_ones, left = [serving] if serving else [], {each.name: each for each in mine}
    for newer in newer_ones:
        left.pop(newer.name, None)
        for older in retained_by(newer, list(left.values())) if newer.marks.in_step else ():
            del left[older.name]
            found.append((newer, older))
            newer_ones.append(older)
    return found


def retained_by(serving: CollectionState, mine: Sequence[CollectionState]) -> list[CollectionState]:
    """The collections that `serving` has replaced and that are still retained, the last one first."""
    retained = [s for s in mine if s.marks.replaced and s.marks.replaced.by == serving.name]
    return sorted(retained, key=lambda s: s.marks.replaced.at if s.marks.replaced else 0.0, reverse=True)
