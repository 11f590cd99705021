"""Is blue's encoder still the one that made its vectors?

A provider can change a model and keep its name. So the texts of some of blue's points are embedded again and
compared with the vectors on blue: the same model gives the same directions, except for rounding; another model
does not. A few texts that differ were edited without being embedded again; if most of them differ, the encoder has
changed. A copy would then have vectors that no query of the present encoder finds, so the migration is held.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from teal.domain.errors import TealError
from teal.domain.percentile import percentile
from teal.domain.schema import UNNAMED, DenseVector
from teal.domain.verdict import Check, Verdict
from teal.migration.verification.comparison import Comparison, samples
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
    points = await _with_text(comparison, field, vector)
    if len(points) < FEWEST:
        return [
            Check("Encoder", Verdict.INCONCLUSIVE, f"only {len(points)} sampled points have a text in {field!r}")
        ]
    try:
        cosines = await _cosines(encoder, points, field, vector.name)
    except TealError as error:
        return [Check("Encoder", Verdict.INCONCLUSIVE, f"blue's encoder does not answer: {error.message}")]
    return [_judge(comparison, points, cosines)]


async def _with_text(comparison: Comparison, field: str, vector: DenseVector) -> list[RawPoint]:
    ids = comparison.sampled(min(comparison.sample, TEXTS))
    points = await comparison.blue.points.fetch(comparison.blue.name, ids)
    return [p for p in points if _text(p, field) and wire.read_dense(p.vectors, vector.name) is not None]


def _text(point: RawPoint, field: str) -> str:
    value = wire.payload_value(point.payload, field)
    return value if isinstance(value, str) and value.strip() else ""


async def _cosines(encoder: Embedder, points: Sequence[RawPoint], field: str, name: str = UNNAMED) -> list[float]:
    made = (await encoder.embed([_text(point, field) for point in points])).vectors
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
