"""Does green find its own points, and the same points as blue?

Both are searched by the vectors of sampled points, which needs no encoder. *Self-recall*: a point's own vector
must find that point through green's index. *Overlap*: for the same vectors, an exact search on blue is the
reference, and green's index must give the same. With another encoder the overlap is informational: it shows the
drift.

HNSW is approximate by design, so a missed point counts only if an exact search finds it, and points with equal
scores are interchangeable.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

from teal.domain import quality
from teal.domain.keys import RawId
from teal.domain.schema import Datatype, DenseVector, Distance
from teal.domain.verdict import Check, Verdict
from teal.migration.verification.comparison import Comparison, Neighbour, Side, samples
from teal.qdrant.points import Hit
from teal.qdrant.wire import Floats

K = 10
MORE = 32
"""How many hits are requested: more than `K`, to see ties with the k-th and to replace hits that are left out."""
SELF_RECALL = 0.9
"""Below this share green's index is broken, unless blue's is no better."""
MARGIN = 0.05
MIN_OVERLAP = 0.95
FEWEST = 5
UNIT = 1e-3


async def self_recall(comparison: Comparison) -> list[Check]:
    """`SelfRecall` for each dense vector of green."""
    return [await _self_recall(comparison, vector) for vector in comparison.green.state.schema.vectors]


async def _self_recall(comparison: Comparison, vector: DenseVector) -> Check:
    name = _named("SelfRecall", vector)
    there = await comparison.neighbours(vector)
    missed, asked = await _missed(comparison.green, vector, [(n.id, n.green) for n in there], comparison)
    if asked < FEWEST:
        return Check(name, Verdict.INCONCLUSIVE, f"only {asked} sampled points can be found by their own vector")
    share = 1.0 - len(missed) / asked
    message = f"{asked - len(missed):,} of {asked:,} sampled points are among the first {K} for their own vector"
    if share < SELF_RECALL and vector in comparison.blue.state.schema.vectors:
        same, found = await _missed(comparison.blue, vector, [(n.id, n.blue) for n in there], comparison)
        if found:
            on_blue = 1.0 - len(same) / found
            message += f"; {on_blue:.0%} on blue"
            if share >= on_blue - MARGIN:
                return Check(name, Verdict.PASSED, message, share, on_blue - MARGIN, samples(missed))
    verdict = Verdict.PASSED if share >= SELF_RECALL else Verdict.FAILED
    return Check(name, verdict, message, share, SELF_RECALL, samples(missed))


async def _missed(
    side: Side, vector: DenseVector, points: Sequence[tuple[RawId, Floats | None]], comparison: Comparison
) -> tuple[list[RawId], int]:
    """Points that the index does not find and an exact search does, and how many could be asked."""
    missed, asked = [], 0
    for point, row in points:
        if row is None:
            continue
        hits = await side.points.query(side.name, row, K, name=vector.name)
        asked += 1
        if any(hit.id == point for hit in hits):
            continue
        exact = await side.points.query(side.name, row, K, name=vector.name, exact=True)
        own = next((hit for hit in exact if hit.id == point), None)
        if own is None:
            asked -= 1  # other points are nearer to its vector (Dot), or too many are equal: not usable as a query
        elif not hits or not quality.tied(hits[-1].score, own.score):
            missed.append(point)
        comparison.say(f"searching for sampled points by their own vector: {asked:,} of {len(points):,}")
    return missed, asked


async def overlap(comparison: Comparison) -> list[Check]:
    """`Overlap` for each dense vector that both have; `Drift`, which is no gate, for another encoder."""
    blue = {vector.name: vector for vector in comparison.blue.state.schema.vectors}
    both = [(blue[v.name], v) for v in comparison.green.state.schema.vectors if v.name in blue]
    if comparison.same_vectors:
        return [await _overlap(comparison, old, new) for old, new in both]
    return [await _drift(comparison, old, new) for old, new in both]


async def _overlap(comparison: Comparison, old: DenseVector, new: DenseVector) -> Check:
    asked_for = comparison.gates.min_overlap
    threshold = MIN_OVERLAP if asked_for is None else asked_for
    gate, name = asked_for is not None, _named("Overlap", new)
    there = [n for n in await comparison.neighbours(new) if n.blue is not None and np.any(n.blue)]
    if len(there) < FEWEST:
        message = f"only {len(there)} sampled points to search by"
        return Check(name, Verdict.INCONCLUSIVE, message, threshold=threshold, gate=gate)
    asked = await _ask(comparison, old, new, there)
    shares = _shares(asked)
    if shares and quality.mean(list(shares.values())) < threshold:
        shares = _shares(asked, moved=await _moved(comparison, asked))
    if len(shares) < FEWEST:
        message = f"only {len(shares)} of {len(asked)} searches find points that have not been written to since"
        return Check(name, Verdict.INCONCLUSIVE, message, threshold=threshold, gate=gate)
    share = quality.mean(list(shares.values()))
    message = f"{share:.3f} of the first {K} results are those of an exact search on blue ({len(shares)} searches)"
    worst = samples(sorted((p for p in shares if shares[p] < threshold), key=shares.__getitem__)[:10])
    if share >= threshold:
        return Check(name, Verdict.PASSED, message, share, threshold, gate=gate)
    if not _comparable(old, new, there):
        message += (
            f"; {_kind(old)} and {_kind(new)} rank these vectors differently, so the overlap decides nothing"
        )
        if gate:
            message += ". Remove spec.verification.minOverlap if the change is wanted"
        return Check(name, Verdict.INCONCLUSIVE, message, share, threshold, worst, gate=gate)
    asked = await _ask(comparison, old, new, there, exact=True)
    exactly = _shares(asked, moved=await _moved(comparison, asked))
    exact = quality.mean(list(exactly.values())) if exactly else 0.0
    cause = "its index finds less than it holds" if exact >= threshold else "it does not hold the same vectors"
    message += f"; an exact search on green has {exact:.3f} of them: {cause}"
    return Check(name, Verdict.FAILED, message, share, threshold, worst, gate=gate)


@dataclass(frozen=True)
class _Answers:
    """What both sides answered to the vector of the point `of`: blue's exact search, and what green found."""

    of: RawId
    right: Sequence[Hit]
    found: Sequence[Hit]

    def share(self, moved: AbstractSet[RawId] = frozenset()) -> float | None:
        """The share of blue's answers that green found; `None` if there are none, or if so many of green's answers
        are left out that the right ones may have come after them."""
        without = moved | {self.of}
        yardstick = [(hit.id, hit.score) for hit in self.right if hit.id not in without]
        found = [hit.id for hit in self.found if hit.id not in without]
        crowded = len(self.found) == MORE and len(found) < min(K, len(yardstick))
        return quality.overlap(found, yardstick, K) if yardstick and not crowded else None


async def _ask(
    comparison: Comparison,
    old: DenseVector,
    new: DenseVector,
    there: Sequence[Neighbour],
    *,
    exact: bool = False,
) -> list[_Answers]:
    """Search both sides by blue's vector of each sampled point."""
    answers = []
    for number, n in enumerate(there, 1):
        if n.blue is not None:
            answers.append(await _answers(comparison, n.id, (old, n.blue), (new, n.blue), exact=exact))
        comparison.say(f"searching both sides: {number:,} of {len(there):,}")
    return answers


def _shares(asked: Sequence[_Answers], *, moved: AbstractSet[RawId] = frozenset()) -> dict[RawId, float]:
    """What green found of blue's exact answers, by sampled point.

    `moved` points are left out on both sides.
    """
    shares = {answers.of: answers.share(moved) for answers in asked}
    return {point: share for point, share in shares.items() if share is not None}


async def _moved(comparison: Comparison, asked: Sequence[_Answers]) -> set[RawId]:
    """Of all points in these answers, those that have changed on blue since they were copied, or that were never
    copied. It is asked after the searches, or points written meanwhile would count against green."""
    found = {hit.id for answers in asked for hit in (*answers.right, *answers.found)}
    return await comparison.known.moved(sorted(found))


async def _answers(
    comparison: Comparison,
    of: RawId,
    old: tuple[DenseVector, Floats],
    new: tuple[DenseVector, Floats],
    *,
    exact: bool = False,
) -> _Answers:
    """An exact search on blue by its vector, and green's by its own."""
    blue, green = comparison.blue, comparison.green
    right = await blue.points.query(blue.name, old[1], MORE, name=old[0].name, exact=True)
    found = await green.points.query(green.name, new[1], MORE, name=new[0].name, exact=exact)
    return _Answers(of, right, found)


def _comparable(old: DenseVector, new: DenseVector, there: Sequence[Neighbour]) -> bool:
    if new.datatype is not old.datatype and new.datatype is Datatype.UINT8:
        return False
    return quality.rankings_agree(old.distance, new.distance, unit_vectors=_unit(old, there))


def _kind(vector: DenseVector) -> str:
    return vector.distance if vector.datatype is Datatype.FLOAT32 else f"{vector.distance} {vector.datatype}"


def _unit(old: DenseVector, there: Sequence[Neighbour]) -> bool:
    """Whether blue's vectors have length 1, as Cosine keeps them and many encoders make them."""
    if old.distance is Distance.COSINE and old.datatype is not Datatype.UINT8:
        return True
    return all(n.blue is None or np.allclose(np.linalg.norm(n.blue, axis=-1), 1.0, atol=UNIT) for n in there)


async def _drift(comparison: Comparison, old: DenseVector, new: DenseVector) -> Check:
    """Drift: the share of a point's neighbours that is the same by each side's own vectors."""
    shares = []
    for n in await comparison.neighbours(new):
        if n.blue is None or n.green is None or not np.any(n.blue):
            continue
        share = (await _answers(comparison, n.id, (old, n.blue), (new, n.green))).share()
        if share is not None:
            shares.append(share)
        comparison.say(f"comparing neighbours: {len(shares):,}")
    name = _named("Drift", new)
    if not shares:
        return Check(name, Verdict.INCONCLUSIVE, "no sampled point has neighbours on both sides")
    share = quality.mean(shares)
    message = f"{share:.2f} of a point's {K} neighbours are the same as with blue's encoder ({len(shares)} points)"
    return Check(name, Verdict.PASSED, f"{message}; informational, no threshold", share)


def _named(check: str, vector: DenseVector) -> str:
    return f"{check}({vector.name})" if vector.name else check
