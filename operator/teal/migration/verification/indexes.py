"""Is green configured as planned, and are its indexes built?"""

from __future__ import annotations

from typing import Any

from teal.domain.observed import CollectionState
from teal.domain.tuning import Change, difference
from teal.domain.verdict import Check, Verdict
from teal.migration.verification.comparison import Comparison

PAYLOAD_INDEX = "payload_index."
SEGMENTS = 8
"""More segments than a shard has by default: in fewer points than the threshold times this, no segment may have
reached it."""


async def configuration(comparison: Comparison) -> list[Check]:
    """`Configuration` and `PayloadIndexes`: all settings are as planned, and no index is empty that has points on
    blue."""
    green = await _look(comparison)
    left = difference(comparison.tuning, green).changes
    settings = [change for change in left if not change.path.startswith(PAYLOAD_INDEX)]
    configured = Check(
        "Configuration",
        Verdict.FAILED if settings else Verdict.PASSED,
        "; ".join(map(str, settings)) or "as planned",
    )
    return [configured, _payload_indexes(comparison, green, [c for c in left if c not in settings])]


def _payload_indexes(comparison: Comparison, green: CollectionState, left: list[Change]) -> Check:
    wrong = [change.path.removeprefix(PAYLOAD_INDEX) for change in left]
    blue = comparison.blue.state.payload_schema
    empty = [
        name
        for name, index in green.payload_schema.items()
        if name not in wrong and not index.get("points") and (blue.get(name) or {}).get("points")
    ]
    problems = [
        *(f"{name} is missing" for name in wrong if name not in green.payload_schema),
        *(f"{name} is another kind of index than planned" for name in wrong if name in green.payload_schema),
        *(f"{name} holds no points" for name in empty),
    ]
    return Check(
        "PayloadIndexes",
        Verdict.FAILED if problems else Verdict.PASSED,
        "; ".join(problems) or f"{len(green.payload_schema):,} payload indexes as planned, each holding points",
        samples=tuple([*wrong, *empty][:10]),
    )


async def completeness(comparison: Comparison) -> list[Check]:
    """`Index`: the optimizer is idle, and there is an index if there are enough points for one."""
    green = await _look(comparison)
    readiness = await comparison.green.admin.ready(green.name)
    indexed = f"{green.indexed_vectors:,} vectors indexed"
    if not readiness.ready:
        waiting = readiness.failed or readiness.waiting_for
        return [Check("Index", Verdict.ERROR, f"{indexed}; {waiting}", float(green.indexed_vectors))]
    unindexed = not green.indexed_vectors and _should_be_indexed(comparison, green)
    return [
        Check(
            "Index",
            Verdict.FAILED if unindexed else Verdict.PASSED,
            f"{indexed} of {green.points:,} points, though {comparison.blue.name} has an index and green is large "
            "enough for one"
            if unindexed
            else f"{indexed}; nothing left to do",
            float(green.indexed_vectors),
        )
    ]


def _should_be_indexed(comparison: Comparison, green: CollectionState) -> bool:
    """Whether green should have an index but has none. Thresholds are in kilobytes for each segment."""
    blue = comparison.blue.state
    if not blue.indexed_vectors:
        return False
    wanted = (comparison.tuning.sections.get("optimizers_config") or {}).get("indexing_threshold")
    here, there = _threshold(green), _threshold(blue)
    if wanted is None and there and not here:
        return True  # indexing was deferred while green was populated, and never switched on
    kilobytes = green.points * green.schema.vector_bytes / 1024
    return here > 0 and kilobytes > here * SEGMENTS * (green.schema.shard_number or 1)


def _threshold(state: CollectionState) -> float:
    found: Any = (state.config.get("optimizer_config") or {}).get("indexing_threshold")
    return float(found or 0)


async def _look(comparison: Comparison) -> CollectionState:
    state = await comparison.green.admin.collection(comparison.green.name)
    if state is None:
        raise LookupError(f"{comparison.green.name} is gone")
    return state
