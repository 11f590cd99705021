"""Does green hold exactly blue's points, and does its count agree with its listing?

A difference is checked again on both sides before it counts, because an application may write or delete points
while the ids are listed.
"""

from __future__ import annotations

from collections.abc import Sequence

from teal.domain.ledger import RawId
from teal.domain.verdict import Check, Verdict
from teal.migration.verification.comparison import Comparison, Side, pages, samples

CONFIRMED = 10_000
"""How many differences are checked again; more than that cannot come from writers."""


async def parity(comparison: Comparison) -> list[Check]:
    """`IdParity` and `Counts`."""
    expected, green = comparison.known, comparison.green
    missing, extra, listed = set(expected), [], 0
    async for page in green.points.ids(green.name):
        listed += len(page)
        missing.difference_update(page)
        extra += [point for point in page if point not in expected]
        comparison.say(f"listing ids: {listed:,}")
    counted = await green.admin.count(green.name)
    lacking = await only_on(comparison.blue, green, list(missing))
    surplus = await only_on(green, comparison.blue, extra)
    coverage = 1.0 - len(lacking) / len(expected) if expected else 1.0
    enough = coverage >= comparison.gates.min_coverage and not surplus
    ids = Check(
        "IdParity",
        Verdict.PASSED if enough else Verdict.FAILED,
        f"{listed:,} ids for {len(expected):,} points, {len(lacking):,} missing, {len(surplus):,} not on blue",
        coverage,
        comparison.gates.min_coverage,
        samples([*lacking, *surplus]),
    )
    return [ids, await _counts(comparison, counted, listed)]


async def _counts(comparison: Comparison, counted: int, listed: int) -> Check:
    """An exact count must equal the number of listed ids; if not, both are repeated: somebody may be writing."""
    green = comparison.green
    if counted != listed:
        listed = 0
        async for page in green.points.ids(green.name):
            listed += len(page)
        counted = await green.admin.count(green.name)
    return Check(
        "Counts",
        Verdict.PASSED if counted == listed else Verdict.FAILED,
        f"an exact count gives {counted:,} points, a listing {listed:,}",
        float(counted),
        float(listed),
    )


async def only_on(here: Side, there: Side, ids: Sequence[RawId]) -> list[RawId]:
    """Those of `ids` that are on `here` and not on `there` when both are asked once more."""
    asked, rest = ids[:CONFIRMED], ids[CONFIRMED:]
    found: list[RawId] = []
    for page in pages(asked, 1000):
        absent = set(page) - await _present(there, page)
        found += await _present(here, list(absent))
    return [*found, *rest]


async def _present(side: Side, ids: Sequence[RawId]) -> set[RawId]:
    return {point.id for point in await side.points.fetch(side.name, ids, vectors=False, payload=False)}
