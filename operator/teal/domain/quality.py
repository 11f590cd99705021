"""How good an answer to a search is, as numbers between 0 and 1. Pure: ids and scores in, figures out.

Ranks are compared with ties in mind: points that are equally near are interchangeable, and which of them a
server lists first is chance. A figure that depended on chance would fail good collections.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from teal.domain.schema import Distance

TIE = 1e-5
"""Scores count as equal if they differ by less than this share of themselves."""
_ANGULAR = frozenset({Distance.COSINE, Distance.DOT, Distance.EUCLID})


@dataclass(frozen=True)
class JudgedQuery:
    """A query whose right answers are known: `relevant` ids, looked for among the first `k` answers."""

    text: str
    relevant: tuple[int | str, ...]
    k: int


def recall(found: Sequence[Hashable], relevant: Sequence[Hashable], k: int) -> float:
    """Share of `relevant` among the first `k` found; 1.0 is all of them, or as many as `k` leaves room for."""
    if not relevant:
        raise ValueError("recall of nothing is not a number")
    wanted = set(relevant)
    return len(wanted.intersection(found[:k])) / min(k, len(wanted))


def ndcg(found: Sequence[Hashable], relevant: Sequence[Hashable], k: int) -> float:
    """nDCG: like `recall`, but a higher rank counts for more (binary relevance, log2 discount)."""
    if not relevant:
        raise ValueError("nDCG of nothing is not a number")
    wanted = set(relevant)
    gained = sum(_discount(rank) for rank, each in enumerate(found[:k]) if each in wanted)
    return gained / sum(_discount(rank) for rank in range(min(k, len(wanted))))


def _discount(rank: int) -> float:
    return 1.0 / math.log2(rank + 2)


def overlap(found: Sequence[Hashable], yardstick: Sequence[tuple[Hashable, float]], k: int) -> float:
    """Share of the first `k` of `yardstick` (id, score; best first) that `found` has among its own first `k`.

    An id that ties with the k-th is as good as it. Give `yardstick` more than `k` entries, so that ties are seen.
    """
    if not yardstick:
        raise ValueError("an empty yardstick measures nothing")
    last = yardstick[min(k, len(yardstick)) - 1][1]
    good = {each for rank, (each, score) in enumerate(yardstick) if rank < k or tied(score, last)}
    return len(good.intersection(found[:k])) / min(k, len(yardstick))


def tied(one: float, other: float) -> bool:
    """Whether two scores are equal but for rounding."""
    return abs(one - other) <= TIE * max(1.0, abs(one), abs(other))


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def rankings_agree(old: Distance, new: Distance, *, unit_vectors: bool) -> bool:
    """Whether the same vectors rank the same by both distances: if the distances are equal, or if both rank by the
    angle when all vectors have length 1."""
    return old is new or (unit_vectors and {old, new} <= _ANGULAR)
