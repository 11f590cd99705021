"""Figures for answers to searches, by hand and by their laws."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teal.domain.quality import ndcg, overlap, rankings_agree, recall
from teal.domain.schema import Distance

COSINE, DOT, EUCLID, MANHATTAN = Distance.COSINE, Distance.DOT, Distance.EUCLID, Distance.MANHATTAN
rankings = st.permutations(range(12)).flatmap(
    lambda found: st.tuples(st.just(found), st.sets(st.integers(0, 15), min_size=1), st.integers(1, 12))
)


@pytest.mark.parametrize(
    ("found", "relevant", "k", "share", "gain"),
    [
        ([1, 2, 3], [1], 1, 1.0, 1.0),
        ([2, 1, 3], [1], 3, 1.0, 1 / math.log2(3)),
        ([2, 3, 1], [1], 2, 0.0, 0.0),
        ([1, 9, 2], [1, 2], 3, 1.0, (1 + 0.5) / (1 + 1 / math.log2(3))),
        ([1, 9, 8], [1, 2], 3, 0.5, 1 / (1 + 1 / math.log2(3))),
        ([1, 2], [1, 2, 3, 4], 2, 1.0, 1.0),
        ([], [1], 10, 0.0, 0.0),
    ],
)
def test_recall_and_ndcg(found: list[int], relevant: list[int], k: int, share: float, gain: float) -> None:
    assert recall(found, relevant, k) == pytest.approx(share)
    assert ndcg(found, relevant, k) == pytest.approx(gain)


@given(rankings)
def test_both_are_shares_and_full_together(given_: tuple[list[int], set[int], int]) -> None:
    found, relevant, k = given_
    share, gain = recall(found, list(relevant), k), ndcg(found, list(relevant), k)
    assert 0.0 <= share <= 1.0
    assert 0.0 <= gain <= 1.0 + 1e-9
    assert (share == 0.0) == (gain == 0.0)
    best = sorted(found, key=lambda each: each not in relevant)
    assert ndcg(best, list(relevant), k) >= gain - 1e-9


def test_of_nothing_there_is_no_share() -> None:
    for figure in (recall, ndcg):
        with pytest.raises(ValueError, match="nothing"):
            figure([1], [], 1)
    with pytest.raises(ValueError, match="yardstick"):
        overlap([1], [], 1)


@pytest.mark.parametrize(
    ("found", "yardstick", "k", "share"),
    [
        ([1, 2], [(1, 0.9), (2, 0.8), (3, 0.7)], 2, 1.0),
        ([2, 1], [(1, 0.9), (2, 0.8), (3, 0.7)], 2, 1.0),
        ([1, 3], [(1, 0.9), (2, 0.8), (3, 0.7)], 2, 0.5),
        ([1, 3], [(1, 0.9), (2, 0.8), (3, 0.8)], 2, 1.0),
        ([1, 3], [(1, 0.1), (2, 0.8), (3, 0.8)], 2, 1.0),
        ([1], [(1, 0.9)], 10, 1.0),
        ([], [(1, 0.9)], 10, 0.0),
        ([9, 8, 1], [(1, 0.9), (2, 0.8)], 2, 0.0),
    ],
    ids=["same", "order", "another", "tie", "tie of distances", "few", "none", "too far down"],
)
def test_overlap(found: list[int], yardstick: list[tuple[int, float]], k: int, share: float) -> None:
    assert overlap(found, yardstick, k) == share


@pytest.mark.parametrize(
    ("old", "new", "unit", "agree"),
    [
        (MANHATTAN, MANHATTAN, False, True),
        (COSINE, DOT, True, True),
        (COSINE, EUCLID, True, True),
        (DOT, EUCLID, True, True),
        (DOT, COSINE, False, False),
        (COSINE, MANHATTAN, True, False),
    ],
)
def test_distances_that_rank_the_same(old: Distance, new: Distance, unit: bool, agree: bool) -> None:
    assert rankings_agree(old, new, unit_vectors=unit) is agree
    assert rankings_agree(new, old, unit_vectors=unit) is agree
