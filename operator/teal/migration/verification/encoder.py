"""Did the encoders make the vectors that are there?

*Blue's*: a provider can change a model and keep its name. So the texts of some of blue's points are embedded again
and compared with the vectors on blue: the same model gives the same directions, except for rounding; another model
does not. A few texts that differ were edited without being embedded again; if most of them differ, the encoder has
changed. A copy would then have vectors that no query of the present encoder finds, so the migration is held.

*Green's*, where its vectors were made anew: an embedding server can answer with vectors of the right size that
have nothing to do with the texts. Texts of some of green's points are embedded once more, not from a cache. Teal
made these vectors itself a short time ago, so every one of them must be the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from teal.domain.errors import TealError, TransientError
from teal.domain.percentile import percentile
from teal.domain.schema import UNNAMED, Datatype, DenseVector
from teal.domain.verdict import Check, Verdict
from teal.migration.verification.comparison import Comparison, Side, samples
from teal.qdrant import wire
from teal.qdrant.wire import Floats, RawPoint
from teal.sources.embedder import Embedder

TEXTS = 32
FEWEST = 3
SAME = 0.99


async def fingerprint(comparison: Comparison) -> list[Check]:
    """`Encoder`: the median cosine between blue's vectors and new ones of the same texts.

    No check where blue's encoder or its text field is not known. It can fail only a copy: when the texts are
    embedded again, blue's old encoder does not matter any more.
    """
    encoder, field = comparison.encoders.blue, comparison.encoders.text_field
    vector = comparison.blue.state.schema.main
    if encoder is None or field is None or vector is None or vector.multivector:
        return []
    points = await _with_text(comparison, comparison.blue, field, vector)
    if len(points) < FEWEST:
        return [
            Check("Encoder", Verdict.INCONCLUSIVE, f"only {len(points)} sampled points have a text in {field!r}")
        ]
    try:
        cosines = await _cosines(encoder, points, field, vector.name)
    except TealError as error:
        return [Check("Encoder", Verdict.INCONCLUSIVE, f"blue's encoder does not answer: {error.message}")]
    return [_judge(comparison, points, cosines)]


async def remade(comparison: Comparison) -> list[Check]:
    """`Embeddings`: the lowest cosine between green's vectors and new ones of the same texts.

    No check where green's vectors are copies, or its encoder is not known. A point that was written meanwhile
    decides nothing.
    """
    encoder, field = comparison.encoders.green, comparison.encoders.text_field
    vector = comparison.green.state.schema.main
    if comparison.same_vectors or encoder is None or field is None or vector is None or vector.multivector:
        return []
    if vector.datatype is Datatype.UINT8:
        return [
            Check("Embeddings", Verdict.INCONCLUSIVE, "bytes cannot be compared with what the encoder returns")
        ]
    points = await _with_text(comparison, comparison.green, field, vector)
    if not points:
        return [Check("Embeddings", Verdict.INCONCLUSIVE, f"no sampled point has a text in {field!r}")]
    try:
        cosines = await _cosines(encoder, points, field, vector.name)
    except TransientError:
        raise
    except TealError as error:
        return [Check("Embeddings", Verdict.INCONCLUSIVE, f"green's encoder does not answer: {error.message}")]
    return [await _judge_green(comparison, points, cosines)]


async def _judge_green(comparison: Comparison, points: Sequence[RawPoint], cosines: Sequence[float]) -> Check:
    suspects = [point.id for point, cosine in zip(points, cosines, strict=True) if cosine < SAME]
    far = set(suspects) - await comparison.known.moved(suspects)
    lowest = min(cosines)
    message = f"lowest cosine {lowest:.4f} between green's vectors and new ones of the same {len(points)} texts"
    if not far:
        return Check("Embeddings", Verdict.PASSED, message, lowest, SAME)
    message += (
        f", {len(far)} below {SAME}: the encoder does not make the same vectors twice, or made wrong ones. "
        "teal.dev/retry makes all of them again"
    )
    return Check("Embeddings", Verdict.FAILED, message, lowest, SAME, samples(far))


async def _with_text(comparison: Comparison, side: Side, field: str, vector: DenseVector) -> list[RawPoint]:
    ids = await comparison.known.sampled(min(comparison.sample, TEXTS))
    points = await side.points.fetch(side.name, ids)
    return [p for p in points if _text(p, field) and wire.read_dense(p.vectors, vector.name) is not None]


def _text(point: RawPoint, field: str) -> str:
    value = wire.payload_value(point.payload, field)
    return value if isinstance(value, str) and value.strip() else ""


async def _cosines(encoder: Embedder, points: Sequence[RawPoint], field: str, name: str = UNNAMED) -> list[float]:
    made = (await encoder.embed([_text(point, field) for point in points], anew=True)).vectors
    return [_cosine(wire.read_dense(point.vectors, name), row) for point, row in zip(points, made, strict=True)]


def _cosine(one: Floats | None, other: Floats) -> float:
    if one is None or one.shape != other.shape:
        return 0.0
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.dot(one, other)) / lengths if lengths else 0.0


def _judge(comparison: Comparison, points: Sequence[RawPoint], cosines: Sequence[float]) -> Check:
    middle = percentile(cosines, 0.5)
    far = [point.id for point, cosine in zip(points, cosines, strict=True) if cosine < SAME]
    message = (
        f"median cosine {middle:.4f} between blue's vectors and new ones of the same {len(points)} texts, "
        f"{len(far)} below {SAME}"
    )
    if middle >= SAME:
        return Check("Encoder", Verdict.PASSED, message, middle, SAME, samples(far))
    if not comparison.same_vectors:
        message += ": blue's encoder has changed; informational, no threshold, because green's vectors are new"
        return Check("Encoder", Verdict.INCONCLUSIVE, message, middle, SAME, samples(far))
    message += (
        ": the provider has changed the model under the same name, or another model made these vectors. Change "
        "schemaVersion to embed all texts again, or correct the EmbeddingSet's model, embedder or textField"
    )
    return Check("Encoder", Verdict.FAILED, message, middle, SAME, samples(far))
