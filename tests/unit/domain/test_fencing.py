"""What a fence changes, and that all of it can be undone."""

from __future__ import annotations

from typing import Any

import pytest

from teal.domain.carry import UNLIMITED
from teal.domain.epoch import Replica
from teal.domain.fencing import (
    FenceChange,
    Unfenceable,
    factor_to_raise,
    fence_change,
    is_raised,
    not_active,
    own_limits,
)
from teal.domain.marks import Fence

EVERY_LIMIT: dict[str, Any] = {
    "max_query_limit": 15,
    "max_timeout": 5,
    "unindexed_filtering_retrieve": False,
    "unindexed_filtering_update": False,
    "search_max_hnsw_ef": 64,
    "search_allow_exact": False,
    "search_max_oversampling": 1.5,
    "upsert_max_batchsize": 0,
    "search_max_batchsize": 2,
    "max_collection_vector_size_bytes": 0,
    "read_rate_limit": 3,
    "max_collection_payload_size_bytes": 0,
    "max_points_count": 10,
    "filter_max_conditions": 1,
    "condition_max_size": 1,
    "multivector_config": {"tokens": {"max_vectors": 2}},
    "sparse_config": {"bm25": {"max_length": 4}},
    "max_payload_index_count": 0,
    "max_resident_memory_percent": 60,
}
"""All that strict mode of 1.19.0 can limit, beside writes."""


def merged(strict: dict[str, Any], change: Any) -> dict[str, Any]:
    """As the server does: what is named is replaced, nothing is unset."""
    return {**strict, **change}


def after_fence(strict: dict[str, Any]) -> dict[str, Any]:
    change = fence_change(strict)
    assert isinstance(change, FenceChange)
    mark = Fence(0.0, bool(strict.get("enabled")), strict.get("write_rate_limit"), change.dormant)
    read_back = Fence.from_json(mark.as_json())
    return merged(merged(strict, change.raised), own_limits(read_back))


def test_what_is_switched_off_stays_without_effect_under_the_fence() -> None:
    strict = {"enabled": False, **EVERY_LIMIT}
    change = fence_change(strict)
    assert isinstance(change, FenceChange)
    fenced = merged(strict, change.raised)
    assert is_raised(fenced)
    assert [name for name, own in EVERY_LIMIT.items() if fenced[name] == own] == []
    assert {fenced[name] for name, own in EVERY_LIMIT.items() if own is False} == {True}
    assert fenced["multivector_config"] == {"tokens": {"max_vectors": UNLIMITED}}


@pytest.mark.parametrize(
    "strict",
    [
        {},
        {"enabled": False, **EVERY_LIMIT},
        {"enabled": True, **EVERY_LIMIT, "write_rate_limit": 600},
        {"enabled": False, "write_rate_limit": 1},
        {"enabled": True, "max_query_limit": None},
    ],
)
def test_a_lifted_fence_leaves_what_was_there(strict: dict[str, Any]) -> None:
    own = {"enabled": False, "write_rate_limit": UNLIMITED, **strict}
    assert after_fence(strict) == own
    assert not is_raised(after_fence(strict)) or is_raised(own)


def test_limits_that_are_in_force_stay_in_force() -> None:
    change = fence_change({"enabled": True, **EVERY_LIMIT})
    assert change == FenceChange({"enabled": True, "write_rate_limit": 1}, {})


def test_a_limit_that_nobody_knows_forbids_the_fence() -> None:
    assert fence_change({"enabled": False, "max_wonders": 7, "max_query_limit": 3}) == Unfenceable(
        ("max_wonders",)
    )
    assert isinstance(fence_change({"enabled": True, "max_wonders": 7}), FenceChange)


@pytest.mark.parametrize(
    ("replicas", "own", "factor"),
    [
        ([(0, 1), (1, 2)], 1, None),
        ([(0, 1), (0, 2), (1, 1)], 1, 2),
        ([(0, 1), (0, 2), (0, 3)], 2, 3),
        ([(0, 1), (0, 2)], 2, None),
        ([(0, 1), (0, 2)], 3, None),
        ([], 1, None),
    ],
)
def test_a_write_has_to_succeed_on_every_replica(
    replicas: list[tuple[int, int]], own: int, factor: int | None
) -> None:
    assert factor_to_raise([Replica(*each) for each in replicas], own) == factor


def test_every_replica_that_is_not_active_is_named() -> None:
    assert not_active([Replica(0, 1), Replica(1, 2)]) == ()
    assert not_active([Replica(1, 2, "Dead"), Replica(0, 1, "Partial")]) == (
        "shard 0 on peer 1 is Partial",
        "shard 1 on peer 2 is Dead",
    )
