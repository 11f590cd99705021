"""Verifying: is green complete, equal and searchable?

Every question is asked of Qdrant again, none is answered from what Teal believes to have done: ids by listing
both sides, content by reading a sample of both, vectors by counting those that have none. A sampled point counts
only while its version stands still on blue, so writes that go on do not look like faults. The sample is the same
on every run (the smallest hashes of the ids), so a verdict can be reproduced.
"""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from teal.domain import marks
from teal.domain.ledger import RawId
from teal.domain.plan import Population
from teal.domain.schema import Datatype, Distance
from teal.domain.transitions import Event
from teal.domain.tuning import difference
from teal.domain.verdict import Check, Verdict, as_mark, overall
from teal.migration import passes
from teal.migration.contract import Note
from teal.migration.work import SLICE_SECONDS, Result, Work
from teal.qdrant import wire
from teal.qdrant.points import Probe

TOLERANCE = {Datatype.FLOAT32: 1e-5, Datatype.FLOAT16: 2e-3, Datatype.UINT8: 1.0}
PAGE = 250


async def run(work: Work) -> Result:
    """Catch up, then ask; the verdict is kept on green and is sticky for this plan."""
    if work.source is None:
        return Result(Event.VERIFIED)
    if not await passes.advance(work, work.clock.monotonic() + SLICE_SECONDS):
        return Result()
    checks = [
        *await _parity(work),
        await _content(work),
        await _vectors(work),
        *await _indexes(work),
    ]
    verdict = overall(checks)
    await work.server.admin.mark(work.subject, {marks.VERDICT: as_mark(work.plan.hash, checks)})
    work.server.invalidate(work.subject)
    if verdict is Verdict.PASSED:
        passed = "; ".join(f"{c.name}: {c.message}" for c in checks)
        return Result(Event.VERIFIED, (Note("VerificationPassed", passed, "Verify"),))
    if verdict is Verdict.FAILED:
        failed = "; ".join(f"{c.name}: {c.message}" for c in checks if c.verdict is Verdict.FAILED)
        note = Note(
            "VerificationFailed", f"{failed}. {work.the_source().name} keeps serving.", "Verify", warning=True
        )
        return Result(Event.FAILED, (note,), detail=failed)
    return Result(requeue_after=5.0, detail="; ".join(c.message for c in checks if c.verdict is Verdict.ERROR))


async def _parity(work: Work) -> list[Check]:
    """Green holds exactly the ids that the last pass saw on blue."""
    ledger = work.session.ledger
    if ledger is None:
        raise LookupError("a pass leaves a ledger")
    expected = ledger.versions.keys()
    found: set[RawId] = set()
    async for page in work.server.points.ids(work.subject):
        found.update(page)
    missing, extra = sorted(expected - found), sorted(found - expected)
    coverage = 1.0 - len(missing) / len(expected) if expected else 1.0
    enough = coverage >= work.options.min_coverage and not extra
    ids = Check(
        "IdParity",
        Verdict.PASSED if enough else Verdict.FAILED,
        f"{len(found):,} of {len(expected):,} ids, {len(missing):,} missing, {len(extra):,} too many",
        coverage,
        work.options.min_coverage,
        _samples([*missing, *extra]),
    )
    count = await work.server.admin.count(work.subject)
    counts = Check(
        "Counts",
        Verdict.PASSED if count == len(found) else Verdict.FAILED,
        f"an exact count gives {count:,}, a listing {len(found):,}",
        float(count),
        float(len(found)),
    )
    return [ids, counts]


async def _content(work: Work) -> Check:
    """Payloads equal on both sides; vectors too, where the encoder is the same."""
    ledger = work.session.ledger
    sample = heapq.nsmallest(work.options.sample, ledger.versions if ledger else (), key=zlib.crc32)
    compared, different = 0, []
    for start in range(0, len(sample), PAGE):
        page = sample[start : start + PAGE]
        still, wrong = await _compare(work, page)
        compared += still
        different += wrong
    if not compared and sample:
        return Check("Content", Verdict.ERROR, "every sampled point was being written; asking again")
    share = 1.0 - len(different) / compared if compared else 1.0
    return Check(
        "Content",
        Verdict.FAILED if different else Verdict.PASSED,
        f"{compared - len(different):,} of {compared:,} sampled points are equal",
        share,
        1.0,
        _samples(different),
    )


async def _compare(work: Work, page: Sequence[RawId]) -> tuple[int, list[RawId]]:
    """How many of `page` stood still on blue while both sides were read, and which of those differ."""
    points, blue = work.server.points, work.the_source()
    known = work.session.ledger.versions if work.session.ledger else {}
    there = {p.id: p for p in await points.fetch(blue.name, page)}
    here = {p.id: p for p in await points.fetch(work.subject, page)}
    now = await points.versions(blue.name, page, Probe.of(blue.schema))
    still = [p for p in page if p in there and now.get(p) == known.get(p)]
    return len(still), [p for p in still if p not in here or not _equal(work, there[p], here[p])]


def _equal(work: Work, blue: Any, green: Any) -> bool:
    if wire.canonical_payload(blue.payload) != wire.canonical_payload(green.payload):
        return False
    for vector in work.plan.schema.vectors:
        ours = wire.read_dense(green.vectors, vector.name)
        theirs = wire.read_dense(blue.vectors, vector.name)
        if ours is None or theirs is None:
            if (ours is None) != (theirs is None):
                return False
            continue
        if not np.isfinite(ours).all() or len(ours) != vector.size:
            return False
        if work.plan.population is Population.COPY and not _close(theirs, ours, vector.distance, vector.datatype):
            return False
    return True


def _close(blue: Any, green: Any, distance: Distance, datatype: Datatype) -> bool:
    if distance is Distance.COSINE and (norm := float(np.linalg.norm(blue))) > 0:
        blue = blue / norm
    scale = max(1.0, float(np.abs(blue).max(initial=0.0)))
    return bool(np.allclose(blue, green, rtol=0, atol=TOLERANCE[datatype] * scale))


async def _vectors(work: Work) -> Check:
    """No point of green lacks a vector that it has on blue."""
    blue, lacking, allowed = work.the_source(), 0, 0
    before = {v.name for v in blue.schema.vectors}
    for vector in work.plan.schema.vectors:
        without = {"must_not": [{"has_vector": vector.name}]}
        lacking += await work.server.admin.count(work.subject, filter=without)
        if vector.name in before:
            allowed += await work.server.admin.count(blue.name, filter=without)
    return Check(
        "Vectors",
        Verdict.PASSED if lacking <= allowed else Verdict.FAILED,
        f"{lacking:,} vectors missing ({allowed:,} on {blue.name})",
        float(lacking),
        float(allowed),
    )


async def _indexes(work: Work) -> list[Check]:
    """Everything declared or inherited is configured, payload indexes hold points, the optimizer is done."""
    blue = work.the_source()
    green = await work.server.admin.collection(work.subject)
    if green is None:
        raise LookupError(f"{work.subject} is gone")
    left = difference(work.plan.tuning, green).changes
    configured = Check(
        "Configuration",
        Verdict.FAILED if left else Verdict.PASSED,
        "; ".join(str(change) for change in left) or f"{len(green.payload_schema)} payload indexes as planned",
    )
    empty = [
        name
        for name, index in green.payload_schema.items()
        if not index.get("points") and (blue.payload_schema.get(name) or {}).get("points")
    ]
    payload = Check(
        "PayloadIndexes",
        Verdict.FAILED if empty else Verdict.PASSED,
        f"no points in {', '.join(empty)}" if empty else "every index holds points that blue's holds",
    )
    readiness = await work.server.admin.ready(work.subject)
    index = Check(
        "Index",
        Verdict.PASSED if readiness.ready else Verdict.ERROR,
        f"{green.indexed_vectors:,} vectors indexed; {readiness.waiting_for or 'nothing left to do'}",
        float(green.indexed_vectors),
    )
    return [configured, payload, index]


def _samples(ids: Sequence[RawId]) -> tuple[str, ...]:
    return tuple(wire.id_text(raw) for raw in ids[:10])
