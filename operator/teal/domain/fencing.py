"""What a fence changes in the configuration of a collection, and how that is undone.

Strict mode is one switch for all of its limits. Where the application has it enabled, its own limits are in force
anyway, and the fence only sets the limit on writes. Where it is disabled, limits may stand there that were never
meant to be in force: a fence must not wake them. So for its time they get a value that limits nothing, and their
own value again when it is lifted. Qdrant cannot unset a limit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from teal.domain.carry import UNLIMITED
from teal.domain.epoch import Replica
from teal.domain.marks import Fence

Limits = Mapping[str, Any]

WRITES = "write_rate_limit"
SWITCH = "enabled"
ACTIVE = "Active"
ALLOWED = ("unindexed_filtering_retrieve", "unindexed_filtering_update", "search_allow_exact")
"""Limits that are switches: `true` allows."""
UPPER = (
    "max_query_limit",
    "max_timeout",
    "search_max_hnsw_ef",
    "search_max_oversampling",
    "upsert_max_batchsize",
    "search_max_batchsize",
    "max_collection_vector_size_bytes",
    "max_collection_payload_size_bytes",
    "read_rate_limit",
    "max_points_count",
    "filter_max_conditions",
    "condition_max_size",
    "max_payload_index_count",
)
"""Limits that are the highest number allowed."""
PERCENT = ("max_resident_memory_percent",)
PER_VECTOR = {"multivector_config": "max_vectors", "sparse_config": "max_length"}
"""Limits for each vector by its name, with the number that limits."""


@dataclass(frozen=True)
class Unfenceable:
    """Limits that are switched off and would be woken, and that cannot be neutralised: there is no fence."""

    limits: tuple[str, ...]


@dataclass(frozen=True)
class FenceChange:
    """The strict mode under the fence, and the collection's own limits that it neutralises."""

    raised: Limits
    dormant: Limits


def fence_change(strict: Limits | None) -> FenceChange | Unfenceable:
    """For a collection with this strict mode."""
    own = {name: value for name, value in (strict or {}).items() if value is not None}
    enabled = bool(own.pop(SWITCH, False))
    own.pop(WRITES, None)
    dormant = {} if enabled else own
    neutral = {name: _neutral(name, value) for name, value in dormant.items()}
    unknown = tuple(sorted(name for name, value in neutral.items() if value is None))
    return Unfenceable(unknown) if unknown else FenceChange({SWITCH: True, WRITES: 1, **neutral}, dormant)


def own_limits(fence: Fence) -> dict[str, Any]:
    """The collection's own strict mode, from the mark of its fence."""
    return {SWITCH: fence.enabled, WRITES: fence.write_rate_limit or UNLIMITED, **fence.limits}


def is_raised(strict: Limits | None) -> bool:
    """Whether this strict mode holds writers back as a fence does."""
    found = strict or {}
    return bool(found.get(SWITCH)) and found.get(WRITES) == 1


def _neutral(name: str, own: Any) -> Any:
    """A value of this limit that limits nothing; `None` for a limit that is not known."""
    if name in ALLOWED:
        return True
    if name in UPPER:
        return UNLIMITED
    if name in PERCENT:
        return 100
    if name in PER_VECTOR:
        return {vector: {PER_VECTOR[name]: UNLIMITED} for vector in own}
    return None


def factor_to_raise(replicas: Collection[Replica], own: int) -> int | None:
    """The `write_consistency_factor` that the fence needs; `None` if the collection's own will do.

    Each replica limits writes by itself, and the peers learn of the limit one after the other. With a lower factor
    a write that one replica takes and another refuses succeeds, and Qdrant gives up the one that refused.
    """
    most = max(Counter(replica.shard for replica in replicas).values(), default=1)
    return most if own < most else None


def not_active(replicas: Collection[Replica]) -> tuple[str, ...]:
    """The replicas that a raised factor would make all writes fail for, in words."""
    return tuple(
        f"shard {replica.shard} on peer {replica.peer} is {replica.state}"
        for replica in sorted(replicas)
        if replica.state != ACTIVE
    )
