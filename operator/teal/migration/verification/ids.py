"""Does green hold exactly blue's points, and does its count agree with its listing?

A difference is checked again on both sides before it counts, because an application may write or delete points
while the ids are listed. More than `CONFIRMED` cannot come from writers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from teal.domain.keys import Keys, RawId
from teal.domain.verdict import Check, Verdict
from teal.migration.copying.scan import PartScan
from teal.migration.verification.apart import Few, ids_of, keys_in, side_by_side, without
from teal.migration.verification.comparison import Comparison, Side, pages, samples
from teal.qdrant.feed import Way

LISTINGS = 3
"""So often ids are listed before a count that does not agree with them is a fault."""


async def parity(comparison: Comparison) -> list[Check]:
    """`IdParity` and `Counts`."""
    green, expected = comparison.green, len(comparison.known)
    missing, extra, listed = Few(), Few(), 0
    before = await green.admin.count(green.name)
    async for known, there in _beside(comparison):
        listed += len(there)
        missing.add(without(known, there))
        extra.add(without(there, known))
        comparison.say(f"listing ids: {listed:,}")
    after = await green.admin.count(green.name)
    lacking = await _only_on(comparison.blue, green, missing.ids)
    surplus = await _only_on(green, comparison.blue, extra.ids)
    lacks, exceeds = len(lacking) + missing.more, len(surplus) + extra.more
    coverage = 1.0 - lacks / expected if expected else 1.0
    enough = coverage >= comparison.gates.min_coverage and not exceeds
    ids = Check(
        "IdParity",
        Verdict.PASSED if enough else Verdict.FAILED,
        f"{listed:,} ids for {expected:,} points, {lacks:,} missing, {exceeds:,} not on blue",
        coverage,
        comparison.gates.min_coverage,
        samples([*lacking, *surplus]),
    )
    return [ids, await _counts(comparison, before, listed, after)]


async def _beside(comparison: Comparison) -> AsyncIterator[tuple[Keys, ...]]:
    """What is known of blue beside what green has: slice by slice, where green's server has the same slices."""
    known, green = comparison.known, comparison.green
    if known.total == 1 or await (await green.server.feed(green.state)).way() is not Way.SLICES:
        async for row in side_by_side(keys_in(known.in_order()), ids_of(green)):
            yield row
        return
    scan = PartScan(green.server, green.state, known.total)
    try:
        while (seen := await scan.next()) is not None:
            async for row in side_by_side(keys_in(known.rows(seen.slice.index)), keys_in([seen.points])):
                yield row
    finally:
        scan.stop()


async def _counts(comparison: Comparison, before: int, listed: int, after: int) -> Check:
    """The number of listed ids must lie between exact counts right before and right after the listing.

    Where an application writes to green, more than one point may come and go meanwhile, so a listing that does not
    agree is made again.
    """
    green = comparison.green
    for _ in range(LISTINGS - 1):
        if min(before, after) <= listed <= max(before, after):
            break
        before, listed = after, 0
        async for page in ids_of(green):
            listed += len(page)
        after = await green.admin.count(green.name)
    agree = min(before, after) <= listed <= max(before, after)
    return Check(
        "Counts",
        Verdict.PASSED if agree else Verdict.FAILED,
        f"an exact count gives {after:,} points, a listing {listed:,}",
        float(after),
        float(listed),
    )


async def _only_on(here: Side, there: Side, ids: Sequence[RawId]) -> list[RawId]:
    """Those of `ids` that are on `here` and not on `there` when both are asked once more."""
    found: list[RawId] = []
    for page in pages(ids, 1000):
        absent = set(page) - await _present(there, page)
        found += await _present(here, list(absent))
    return found


async def _present(side: Side, ids: Sequence[RawId]) -> set[RawId]:
    return {point.id for point in await side.reads.fetch(side.name, ids, vectors=False, payload=False)}
