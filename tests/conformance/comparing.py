"""What counts as the same answer: everything, apart from what no two servers can agree on.

A value is left out only when it is named here, and its type is compared even then. So a new field, a lost
field, another error text or another order is a difference.
"""

from __future__ import annotations

import math
import re
from typing import Any

Json = Any

TOLERANCE = 1e-6

# How long something took, or what it cost: recordings do not carry them.
UNRECORDED = frozenset({"time", "usage"})
# Clocks, identities and sizes on disk; the numbers of segments follow the machine's cores.
VOLATILE = frozenset(
    {
        "checksum",
        "creation_time",
        "idle_segments",
        "init_time_ms",
        "last_responded",
        "payloads_size_bytes",
        "peer_id",
        "segments_count",
        "vectors_size_bytes",
    }
)
SNAPSHOT_NAME = re.compile(r"-\d+-\d{4}(-\d\d){5}\.snapshot\b")


def normalised(value: Json, chance: frozenset[str] = frozenset()) -> Json:
    """`value` with each volatile field replaced by the name of its type.

    `chance` names further keys whose values, and even types, this answer leaves to chance.
    """
    match value:
        case dict():
            return {key: _field(key, item, chance) for key, item in value.items() if key not in UNRECORDED}
        case list():
            return [normalised(item, chance) for item in value]
        case str():
            return SNAPSHOT_NAME.sub("-<peer>-<time>.snapshot", value)
    return value


def _field(key: str, item: Json, chance: frozenset[str]) -> Json:
    if key in chance:
        return "<chance>"
    if key in VOLATILE:
        return f"<{type(item).__name__}>"
    if key == "replicate_states":  # keyed by peer id
        return sorted(item.values())
    return normalised(item, chance)


def assert_same(expected: Json, actual: Json) -> None:
    """Fail with one line for each difference."""
    assert (found := differences(expected, actual)) == [], "\n" + "\n".join(found)


def differences(expected: Json, actual: Json, at: str = "$") -> list[str]:
    """Where `actual` is not `expected`, one line each; empty when they are the same.

    Floats may differ by `TOLERANCE`; a float may be written as an integer, but not the other way round.
    """
    if isinstance(expected, float) and isinstance(actual, int | float) and not isinstance(actual, bool):
        close = math.isclose(expected, actual, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        return [] if close else [f"{at}: expected {expected}, got {actual}"]
    if type(expected) is not type(actual):
        return [f"{at}: expected {expected!r}, got {actual!r}"]
    if isinstance(expected, dict):
        return _fields(expected, actual, at)
    if isinstance(expected, list):
        return _items(expected, actual, at)
    return [] if expected == actual else [f"{at}: expected {expected!r}, got {actual!r}"]


def _fields(expected: dict[str, Json], actual: dict[str, Json], at: str) -> list[str]:
    missing = [f"{at}.{key}: missing, expected {expected[key]!r}" for key in expected.keys() - actual.keys()]
    extra = [f"{at}.{key}: not expected, got {actual[key]!r}" for key in actual.keys() - expected.keys()]
    both = [key for key in expected if key in actual]
    return sorted(missing + extra) + [
        line for key in both for line in differences(expected[key], actual[key], f"{at}.{key}")
    ]


def _items(expected: list[Json], actual: list[Json], at: str) -> list[str]:
    if len(expected) != len(actual):
        return [f"{at}: expected {len(expected)} items, got {len(actual)}: {actual!r}"]
    pairs = enumerate(zip(expected, actual, strict=True))
    return [line for i, (old, new) in pairs for line in differences(old, new, f"{at}[{i}]")]
