"""Does every point have the vectors that it needs, and are they valid?

Presence is counted by Qdrant; where green lacks more, the points without a vector are listed on both sides, and
those that make the difference and have moved on blue meanwhile are left out. Whether a vector is finite is found
by its exact score for any query, because scores of a whole collection are read much faster than vectors. A point
without a score, or with a score that is not a number, may have a vector that is not finite; a point with a score
of exactly zero may have a zero vector, which no Cosine or Dot search can rank. The vectors of these are read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from qdrant_client import grpc as qdrant

from teal.domain.keys import RawId
from teal.domain.schema import Datatype, DenseVector, Distance
from teal.domain.verdict import Check, Verdict
from teal.migration.verification.apart import TOO_MANY, Listings
from teal.migration.verification.comparison import EVERY_POINT, Comparison, Side, pages, samples
from teal.qdrant import wire
from teal.qdrant.wire import Floats

SCORED = 5000
SUSPECTS = 10_000


async def presence(comparison: Comparison) -> list[Check]:
    """`Vectors`: no more points of green lack a vector than of blue."""
    lacking, allowed = await _lacks(comparison)
    found: set[RawId] = set()
    if lacking > allowed:
        # Blue may have lost points without vectors since green was filled: leave out what has moved.
        listings = await _listed(comparison)
        lacking, allowed, found = sum(listings.green()), sum(listings.blue()), listings.only_on_green()
        if lacking <= allowed and listings.too_many:
            return [Check("Vectors", Verdict.INCONCLUSIVE, f"{TOO_MANY} to leave out of the counts")]
    enough = lacking <= allowed
    return [
        Check(
            "Vectors",
            Verdict.PASSED if enough else Verdict.FAILED,
            f"{lacking:,} vectors missing ({allowed:,} on {comparison.blue.name})",
            float(lacking),
            float(allowed),
            () if enough else samples(found),
        )
    ]


async def _lacks(comparison: Comparison) -> tuple[int, int]:
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


async def _listed(comparison: Comparison) -> Listings:
    """The points that lack a vector, vector by vector."""
    before, listings = _names(comparison.blue), Listings(comparison)
    for name in _names(comparison.green):
        await listings.add(_without_vector(name), on_blue=name in before)
        comparison.say("listing points without vectors")
    await listings.settle()
    return listings


def _without_vector(name: str) -> bytes:
    """A serialized `Filter` for the points that lack this vector."""
    condition = qdrant.Condition(has_vector=qdrant.HasVectorCondition(has_vector=name))
    return bytes(qdrant.Filter(must_not=[condition]).SerializeToString())


async def sanity(comparison: Comparison) -> list[Check]:
    """`VectorSanity`: green's dense vectors are finite, and none is zero that need not be."""
    chosen = await comparison.known.sampled(EVERY_POINT)
    infinite: set[RawId] = set()
    zero: set[RawId] = set()
    for vector in comparison.green.state.schema.vectors:
        for page in pages(await _suspects(comparison, vector, chosen)):
            bad, nothing = await _looked_at(comparison.green, vector.name, page)
            if nothing and comparison.same_vectors:
                nothing -= (await _looked_at(comparison.blue, vector.name, list(nothing)))[1]
                nothing -= await comparison.known.moved(sorted(nothing))
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
