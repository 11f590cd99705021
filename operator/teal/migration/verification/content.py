"""Are the points equal on both sides? Payloads of all points, vectors of a sample.

Payloads are read slice by slice on both sides; a slice that is equal needs nothing more. In a slice that differs,
points are compared one by one: first in canonical form, because a server may send the keys of a map in any order;
then by their versions on blue, because a point that is being written decides nothing; and then once more. Vectors
are compared within the precision of their datatype.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import numpy as np

from teal.domain.keys import RawId
from teal.domain.schema import Datatype, DenseVector, Distance
from teal.domain.verdict import Check, Verdict
from teal.migration.verification.comparison import EVERY_POINT, PAGE, Comparison, pages, samples
from teal.qdrant import wire
from teal.qdrant.wire import Floats, RawPoint

SLICE = 500
Differ = Callable[[Comparison, RawPoint, RawPoint], bool]


async def payloads(comparison: Comparison) -> list[Check]:
    """`Payloads`: every point's, up to `EVERY_POINT` points."""
    chosen = await comparison.known.sampled(EVERY_POINT)

    def progress(done: int) -> None:
        comparison.say(f"comparing payloads: {done:,} of {len(chosen):,}")

    compared, different = await _compare(comparison, chosen, SLICE, payload_differs, progress, vectors=False)
    return [_judged("Payloads", comparison, chosen, compared, different)]


async def content(comparison: Comparison) -> list[Check]:
    """`Content`: payload and vectors of `sample` points."""
    if not comparison.sample:
        return [Check("Content", Verdict.INCONCLUSIVE, "verification.sample is 0")]
    chosen = await comparison.known.sampled(comparison.sample)

    def progress(done: int) -> None:
        comparison.say(f"comparing whole points: {done:,} of {len(chosen):,}")

    compared, different = await _compare(comparison, chosen, PAGE, point_differs, progress, vectors=True)
    return [_judged("Content", comparison, chosen, compared, different)]


def _judged(
    name: str, comparison: Comparison, chosen: Sequence[RawId], compared: int, different: Sequence[RawId]
) -> Check:
    if chosen and not compared:
        return Check(name, Verdict.ERROR, "every point that was compared was being written; comparing again")
    what = "payloads" if name == "Payloads" else "points"
    return Check(
        name,
        Verdict.FAILED if different else Verdict.PASSED,
        f"{len(different):,} of {compared:,} {what} differ ({comparison.extent(len(chosen))})",
        1.0 - len(different) / compared if compared else 1.0,
        1.0,
        samples(different),
    )


async def _compare(
    comparison: Comparison,
    chosen: Sequence[RawId],
    size: int,
    differ: Differ,
    progress: Callable[[int], None],
    *,
    vectors: bool,
) -> tuple[int, list[RawId]]:
    """How many points were compared, and which of them differ. Missing points are the matter of `ids`."""

    async def differing(ids: Sequence[RawId]) -> list[RawId]:
        blue, green = await _both(comparison, ids, vectors=vectors)
        return [p for p in ids if p in blue and p in green and differ(comparison, blue[p], green[p])]

    compared, different, done = len(chosen), [], 0
    for page in pages(chosen, size):
        suspects = await differing(page)
        if suspects:
            confirmed, excluded = await _drill(comparison, suspects, differing)
            different += confirmed
            compared -= excluded
        done += len(page)
        progress(done)
    return compared, different


async def _drill(
    comparison: Comparison,
    suspects: Sequence[RawId],
    differing: Callable[[Sequence[RawId]], Awaitable[list[RawId]]],
) -> tuple[list[RawId], int]:
    """Which of `suspects` really differ, and how many were written meanwhile and are left out."""
    before = await comparison.known.moved(suspects)
    again = await differing([p for p in suspects if p not in before])
    after = await comparison.known.moved(again)
    return [p for p in again if p not in after], len(before | after)


async def _both(
    comparison: Comparison, ids: Sequence[RawId], *, vectors: bool
) -> tuple[Mapping[RawId, RawPoint], Mapping[RawId, RawPoint]]:
    sides = (comparison.blue, comparison.green)
    blue, green = await asyncio.gather(*(s.reads.fetch(s.name, ids, vectors=vectors) for s in sides))
    return {p.id: p for p in blue}, {p.id: p for p in green}


def payload_differs(_: Comparison, blue: RawPoint, green: RawPoint) -> bool:
    """Whether two payloads are unequal, whatever the order of their maps."""
    if sorted(blue.payload) == sorted(green.payload):
        return False
    return wire.canonical_payload(blue.payload) != wire.canonical_payload(green.payload)


def point_differs(comparison: Comparison, blue: RawPoint, green: RawPoint) -> bool:
    """Whether two points are unequal in what green should have of blue."""
    schema = comparison.green.state.schema
    return (
        payload_differs(comparison, blue, green)
        or any(_dense_differs(comparison, vector, blue, green) for vector in schema.vectors)
        or any(_sparse_differs(name, blue, green) for name in schema.sparse)
    )


def _dense_differs(comparison: Comparison, vector: DenseVector, blue: RawPoint, green: RawPoint) -> bool:
    theirs, ours = wire.read_dense(blue.vectors, vector.name), wire.read_dense(green.vectors, vector.name)
    if ours is None or theirs is None:
        return ours is None and theirs is not None
    return comparison.same_vectors and not close(theirs, ours, vector.distance, vector.datatype)


def close(blue: Floats, green: Floats, distance: Distance, datatype: Datatype) -> bool:
    """Whether `green` is what a collection of this distance and datatype keeps of `blue`."""
    if blue.shape != green.shape:
        return False
    if distance is Distance.COSINE and datatype is not Datatype.UINT8:
        # Of a multivector, each row is normalised by itself; bytes are kept as they come.
        norms = np.linalg.norm(blue, axis=-1, keepdims=True)
        blue = (blue / np.where(norms > 0, norms, 1.0)).astype(np.float32)
    scale = 1.0 if datatype is Datatype.UINT8 else max(1.0, float(np.abs(blue).max(initial=0.0)))
    return bool(np.allclose(blue, green, rtol=0, atol=datatype.tolerance * scale, equal_nan=True))


def _sparse_differs(name: str, blue: RawPoint, green: RawPoint) -> bool:
    theirs, ours = wire.read_sparse(blue.vectors, name), wire.read_sparse(green.vectors, name)
    if theirs is None or ours is None:
        return ours is None and theirs is not None
    return theirs.keys() != ours.keys() or any(abs(theirs[i] - ours[i]) > 1e-5 for i in theirs)
