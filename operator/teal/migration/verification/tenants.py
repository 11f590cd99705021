"""Does every tenant have all of its points? A small tenant can be missing although the totals hardly differ.

Points are counted by exact facets on both sides. Where the counts of a tenant differ, its points are listed on
both sides, and only those count that have not been written or deleted on blue since green was brought to its
state.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from teal.domain.errors import TerminalError
from teal.domain.ledger import RawId
from teal.domain.observed import CollectionState
from teal.domain.verdict import Check, Verdict
from teal.migration.verification.comparison import Comparison, Side
from teal.migration.verification.ids import only_on
from teal.qdrant.points import equal_to

VALUES = 10_000
"""A field with more values than this is not compared value by value."""
LISTED = 200_000
"""Up to so many points of tenants whose counts differ are listed."""

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
        blue, green = await _facet(comparison.blue, field), await _facet(comparison.green, field)
        differing = await _differing(comparison, field, blue, green)
    except _UnsettledError as error:
        return Check(name, Verdict.INCONCLUSIVE, str(error))
    total, off = sum(blue.values()), sum(map(len, differing.values()))
    share = max(0.0, 1.0 - off / total) if total else float(not differing)
    return Check(
        name,
        Verdict.PASSED if share >= comparison.gates.min_coverage else Verdict.FAILED,
        f"{len(blue):,} tenants, {len(differing):,} with another number of points{_worst(differing, blue, green)}",
        share,
        comparison.gates.min_coverage,
        tuple(map(str, _by_difference(differing)[:10])),
    )


class _UnsettledError(Exception):
    """The tenants cannot be counted in a way that decides anything."""


async def _differing(comparison: Comparison, field: str, blue: Counts, green: Counts) -> dict[Any, set[RawId]]:
    """The points that one side has for a tenant and the other one lacks, for each tenant that has such points."""
    suspects = [t for t in blue.keys() | green.keys() if blue.get(t, 0) != green.get(t, 0)]
    listed = sum(blue.get(t, 0) + green.get(t, 0) for t in suspects)
    if listed > LISTED:
        raise _UnsettledError(
            f"tenants with {listed:,} points differ: too many to tell missing ones from written ones"
        )
    found: dict[Any, set[RawId]] = {}
    for tenant in suspects:
        comparison.say(f"listing the points of the tenant {tenant} of {field}")
        where = equal_to(field, tenant)
        here, there = await _ids(comparison.blue, where), await _ids(comparison.green, where)
        # Read after both lists: what was written in between does not count.
        off = await comparison.at_rest(here ^ there)
        foreign = [point for point in there - here if point not in comparison.known]
        off |= set(await only_on(comparison.green, comparison.blue, foreign))
        if off:
            found[tenant] = off
    return found


async def _ids(side: Side, where: bytes) -> set[RawId]:
    found: set[RawId] = set()
    async for page in side.points.ids(side.name, where=where):
        found.update(page)
    return found


async def _facet(side: Side, field: str) -> Counts:
    try:
        found = await side.admin.facet(side.name, field, limit=VALUES + 1)
    except TerminalError as error:
        if error.reason != "QdrantRefused":
            raise
        raise _UnsettledError(f"{side.name} does not count the values of {field!r}: {error.message}") from error
    if len(found) > VALUES:
        raise _UnsettledError(f"{field!r} has more than {VALUES:,} values, so tenants are not compared one by one")
    return found


def _by_difference(differing: Mapping[Any, Collection[RawId]]) -> list[Any]:
    return sorted(differing, key=lambda t: (-len(differing[t]), str(t)))


def _worst(differing: Mapping[Any, Collection[RawId]], blue: Counts, green: Counts) -> str:
    if not differing:
        return ""
    worst = _by_difference(differing)[0]
    return f"; {worst}: {blue.get(worst, 0):,} on blue, {green.get(worst, 0):,} on green"
