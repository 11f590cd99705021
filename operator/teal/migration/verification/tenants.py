"""Does every tenant have all of its points? A small tenant can be missing although the totals hardly differ.

Points are counted by exact facets on both sides. Where the counts differ, points written since green was brought
to blue's state are left out on both sides, and they are counted again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from teal.domain.errors import TerminalError
from teal.domain.ledger import RawId
from teal.domain.observed import CollectionState
from teal.domain.verdict import Check, Verdict
from teal.migration.verification.comparison import Comparison, Side
from teal.qdrant import wire

VALUES = 10_000
"""A field with more values than this is not compared value by value."""
MOVED = 10_000
ROUNDS = 3

Counts = Mapping[Any, int]


async def parity(comparison: Comparison) -> list[Check]:
    """`Tenants`, once for each field that has a tenant index on either side; none where there is no such field."""
    fields = tenant_fields(comparison.green.state) | tenant_fields(comparison.blue.state)
    return [await _field(comparison, name) for name in sorted(fields)]


def tenant_fields(state: CollectionState) -> set[str]:
    """Payload fields whose index says that they name a tenant."""
    return {name for name, index in state.payload_schema.items() if (index.get("params") or {}).get("is_tenant")}


async def _field(comparison: Comparison, field: str) -> Check:
    name = f"Tenants({field})"
    unindexed = [s.name for s in (comparison.blue, comparison.green) if field not in s.state.payload_schema]
    if unindexed:
        return Check(name, Verdict.INCONCLUSIVE, f"{unindexed[0]} has no index on {field!r} to count tenants by")
    try:
        blue, green = await _counted(comparison, field)
    except _UnsettledError as error:
        return Check(name, Verdict.INCONCLUSIVE, str(error))
    differing = {t for t in blue.keys() | green.keys() if blue.get(t, 0) != green.get(t, 0)}
    total = sum(blue.values())
    off = sum(abs(blue.get(t, 0) - green.get(t, 0)) for t in differing)
    share = max(0.0, 1.0 - off / total) if total else float(not differing)
    return Check(
        name,
        Verdict.PASSED if share >= comparison.gates.min_coverage else Verdict.FAILED,
        f"{len(blue):,} tenants, {len(differing):,} with another number of points{_worst(differing, blue, green)}",
        share,
        comparison.gates.min_coverage,
        tuple(map(str, _by_difference(differing, blue, green)[:10])),
    )


class _UnsettledError(Exception):
    """The tenants cannot be counted in a way that decides anything."""


async def _counted(comparison: Comparison, field: str) -> tuple[Counts, Counts]:
    """Points by tenant on both sides, without those that were written meanwhile if they make a difference."""
    blue, green = await _facets(comparison, field, ())
    for _ in range(ROUNDS):
        if blue == green:
            break
        comparison.say(f"counting tenants by {field} without what is being written")
        moved = await comparison.all_moved()
        if len(moved) > MOVED:
            raise _UnsettledError(
                f"{len(moved):,} points were written meanwhile: too many to leave out of the counts"
            )
        blue, green = await _facets(comparison, field, moved)
        if not await comparison.all_moved() - moved:
            break
    return blue, green


async def _facets(comparison: Comparison, field: str, without: Collection[RawId]) -> tuple[Counts, Counts]:
    return (
        await _facet(comparison.blue, field, without),
        await _facet(comparison.green, field, without),
    )


async def _facet(side: Side, field: str, without: Collection[RawId]) -> Counts:
    others = {"must_not": [{"has_id": [wire.plain_id(p) for p in without]}]} if without else None
    try:
        found = await side.admin.facet(side.name, field, limit=VALUES + 1, filter=others)
    except TerminalError as error:
        if error.reason != "QdrantRefused":
            raise
        raise _UnsettledError(f"{side.name} does not count the values of {field!r}: {error.message}") from error
    if len(found) > VALUES:
        raise _UnsettledError(f"{field!r} has more than {VALUES:,} values, so tenants are not compared one by one")
    return found


def _by_difference(differing: Collection[Any], blue: Counts, green: Counts) -> list[Any]:
    return sorted(differing, key=lambda t: (-abs(blue.get(t, 0) - green.get(t, 0)), str(t)))


def _worst(differing: Collection[Any], blue: Counts, green: Counts) -> str:
    if not differing:
        return ""
    worst = _by_difference(differing, blue, green)[0]
    return f"; {worst}: {blue.get(worst, 0):,} on blue, {green.get(worst, 0):,} on green"
