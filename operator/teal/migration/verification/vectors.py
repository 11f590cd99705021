"""Does every point have the vectors that it needs, and are they valid?

Presence is counted by Qdrant. Whether a vector is finite is found by its exact score for any query, because scores
of a whole collection are read much faster than vectors. A point without a score, or with a score that is not a
number, may have a vector that is not finite; a point with a score of exactly zero may have a zero vector, which no
Cosine or Dot search can rank. The vectors of these suspects are read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from teal.domain.ledger import RawId
from teal.domain.schema import Datatype, DenseVector, Distance
from teal.domain.verdict import Check, Verdict
from teal.migration.verification.comparison import EVERY_POINT, Comparison, Side, pages, samples
from teal.qdrant import wire
from teal.qdrant.points import lacking as lacking_vector
from teal.qdrant.wire import Floats

SCORED = 5000
SUSPECTS = 10_000


async def presence(comparison: Comparison) -> list[Check]:
    """`Vectors`: every point of green has the vectors that it has on blue, and those that are new."""
    lacking, allowed = await _counted(comparison)
    wrong: set[RawId] = set()
    if lacking > allowed:
        # Or blue has lost points without vectors since green was filled: each of them is looked at.
        wrong = await _wrongly_lacking(comparison)
    return [
        Check(
            "Vectors",
            Verdict.FAILED if wrong else Verdict.PASSED,
            f"{lacking:,} vectors missing ({allowed:,} on {comparison.blue.name}), "
            f"{len(wrong):,} points lack one that they should have",
            float(len(wrong)),
            0.0,
            samples(wrong),
        )
    ]


async def _counted(comparison: Comparison) -> tuple[int, int]:
    """How many vectors green's points lack, and blue's of those that it should have."""
    blue, green = comparison.blue, comparison.green
    lacking, allowed = 0, 0
    before = _names(blue)
    for name in _names(green):
        condition = {"must_not": [{"has_vector": name}]}
        lacking += await green.admin.count(green.name, filter=condition)
        allowed += await blue.admin.count(blue.name, filter=condition) if name in before else 0
    return lacking, allowed


def _names(side: Side) -> list[str]:
    return [*(vector.name for vector in side.state.schema.vectors), *side.state.schema.sparse]


async def _wrongly_lacking(comparison: Comparison) -> set[RawId]:
    """Points of green without a vector that they have on blue, or that green's points all must have.

    What was written to blue meanwhile decides nothing.
    """
    green, before, wrong = comparison.green, _names(comparison.blue), set[RawId]()
    for name in _names(green):
        async for page in green.points.ids(green.name, where=lacking_vector(name)):
            suspects = await _have(comparison.blue, page, name) if name in before else set(page)
            # After blue's vectors are read: what is written in between does not count.
            wrong |= await comparison.at_rest(suspects)
        comparison.say(f"looking for missing vectors: {len(wrong):,} found")
    return wrong


async def _have(side: Side, ids: Sequence[RawId], name: str) -> set[RawId]:
    found: set[RawId] = set()
    for page in pages(ids):
        held = await side.points.fetch(side.name, page, payload=False)
        found |= {point.id for point in held if wire.has_vector(point.vectors, name)}
    return found


async def sanity(comparison: Comparison) -> list[Check]:
    """`VectorSanity`: green's dense vectors are finite, and none is zero that need not be."""
    chosen = comparison.sampled(EVERY_POINT)
    infinite: set[RawId] = set()
    zero: set[RawId] = set()
    for vector in comparison.green.state.schema.vectors:
        for page in pages(await _suspects(comparison, vector, chosen)):
            bad, nothing = await _looked_at(comparison.green, vector.name, page)
            if nothing and comparison.same_vectors:
                nothing -= (await _looked_at(comparison.blue, vector.name, list(nothing)))[1]
            infinite |= bad
            zero |= nothing if vector.distance in (Distance.COSINE, Distance.DOT) else set()
    wrong = infinite | zero
    return [
        Check(
            "VectorSanity",
            Verdict.FAILED if wrong else Verdict.PASSED,
            f"{len(infinite):,} points with vectors that are not finite, {len(zero):,} with zero vectors "
            f"({comparison.extent(len(chosen))})",
            float(len(wrong)),
            0.0,
            samples(wrong),
        )
    ]


async def _suspects(comparison: Comparison, vector: DenseVector, chosen: Sequence[RawId]) -> list[RawId]:
    """The points whose score is zero, or no number, or not told."""
    green, direction = comparison.green, _direction(vector)
    found: list[RawId] = []
    for number, page in enumerate(pages(chosen, SCORED)):
        told = await green.points.scores(green.name, page, direction, name=vector.name)
        found += [p for p in page if not math.isfinite(told.get(p, math.nan)) or told[p] == 0.0]
        comparison.say(f"looking at vectors: {number * SCORED + len(page):,} of {len(chosen):,}")
    return found[:SUSPECTS]


async def _looked_at(side: Side, name: str, ids: Sequence[RawId]) -> tuple[set[RawId], set[RawId]]:
    """Those of `ids` whose vector is not finite, and those whose vector is zero."""
    found = await side.points.fetch(side.name, ids, payload=False)
    read = {point.id: wire.read_dense(point.vectors, name) for point in found}
    held = {point: row for point, row in read.items() if row is not None}
    infinite = {point for point, row in held.items() if not np.isfinite(row).all()}
    return infinite, {point for point, row in held.items() if not np.any(row)}


def _direction(vector: DenseVector) -> Floats:
    """A fixed vector without zeros: hardly any vector but a zero one has the score zero for it.

    For Uint8 it is of ones: the server stores a query like a vector, and would truncate fractions to zeros.
    """
    if vector.datatype is Datatype.UINT8:
        direction = np.ones(vector.size, dtype=np.float32)
    else:
        random = np.random.default_rng(7).uniform(0.5, 1.5, vector.size).astype(np.float32)
        direction = random / np.linalg.norm(random)
    return direction[np.newaxis] if vector.multivector else direction
