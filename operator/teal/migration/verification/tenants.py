"""Does every tenant have all of its points? A small tenant can be missing although the totals hardly differ.

Points are counted by exact facets on both sides. Where the counts of a tenant differ, its ids are listed on both
sides: those that only one side lists and that have moved on blue since green was brought to its state are left
out. So a point does not count that was born and deleted again between two counts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from qdrant_client import grpc as qdrant

from teal.domain.errors import TerminalError
from teal.domain.observed import CollectionState
from teal.domain.verdict import Check, Verdict
from teal.migration.verification.apart import TOO_MANY, Listings
from teal.migration.verification.comparison import Comparison, Side

VALUES = 10_000
"""A field with more values than this is not compared value by value."""
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
        blue, green, too_many = await _counted(comparison, field)
    except _UnsettledError as error:
        return Check(name, Verdict.INCONCLUSIVE, str(error))
    differing = _differing(blue, green)
    total = sum(blue.values())
    off = sum(abs(blue.get(t, 0) - green.get(t, 0)) for t in differing)
    share = max(0.0, 1.0 - off / total) if total else float(not differing)
    if too_many and share >= comparison.gates.min_coverage:
        return Check(name, Verdict.INCONCLUSIVE, f"{TOO_MANY} to leave out of the counts")
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


async def _counted(comparison: Comparison, field: str) -> tuple[Counts, Counts, bool]:
    """Points by tenant on both sides, without those that were written meanwhile if they make a difference; and
    whether these were too many to find them all."""
    blue, green = await _facet(comparison.blue, field), await _facet(comparison.green, field)
    differing = _by_difference(_differing(blue, green), blue, green)
    listings = Listings(comparison)
    for number, tenant in enumerate(differing, 1):
        await listings.add(_has(field, tenant))
        comparison.say(f"listing points by {field}: {number:,} of {len(differing):,} tenants")
    await listings.settle()
    blue |= dict(zip(differing, listings.blue(), strict=True))
    green |= dict(zip(differing, listings.green(), strict=True))
    return _nonzero(blue), _nonzero(green), listings.too_many


def _differing(blue: Counts, green: Counts) -> set[Any]:
    return {tenant for tenant in blue.keys() | green.keys() if blue.get(tenant, 0) != green.get(tenant, 0)}


def _nonzero(counts: Counts) -> Counts:
    return {tenant: count for tenant, count in counts.items() if count}


def _has(field: str, tenant: Any) -> bytes:
    """A serialized `Filter` for the points of one tenant."""
    if isinstance(tenant, bool):
        match = qdrant.Match(boolean=tenant)
    elif isinstance(tenant, int):
        match = qdrant.Match(integer=tenant)
    else:
        match = qdrant.Match(keyword=str(tenant))
    condition = qdrant.Condition(field=qdrant.FieldCondition(key=field, match=match))
    return bytes(qdrant.Filter(must=[condition]).SerializeToString())


async def _facet(side: Side, field: str) -> dict[Any, int]:
    try:
        found = await side.admin.facet(side.name, field, limit=VALUES + 1)
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
