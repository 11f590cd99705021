"""Both live revisions stay in step, for clients that move with their own deployment.

From the switch until its retention ends, the retained collection can still be written to by
`<alias>-<schemaVersion>`, and a rollback wants it complete. So at intervals both sides' versions are scanned and
what changed on one is written to the other, with the other's encoder where it differs. A side whose `op_num`s
have not moved since the last round is not scanned again, and a round that took long is followed by a long pause:
staying in step must not cost more than a twentieth of the time.

The versions at which both were last in step are kept as digests on the serving collection, so a crash costs one
comparison of the buckets that were written to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from teal.domain import marks
from teal.domain.in_step import Diff, Side, difference, is_loss
from teal.domain.ledger import UNKNOWN, RawId, checkpoint_of, restore
from teal.domain.observed import CollectionState
from teal.migration.scan import Scan
from teal.migration.transform import AsManyAsPossible, Transform, across, same_encoder
from teal.migration.work import Work, Writes
from teal.qdrant import wire
from teal.qdrant.collection import Quiescence
from teal.qdrant.points import Probe
from teal.qdrant.wire import RawPoint
from teal.sources.embedder import Embedder

PAUSE_SECONDS = 10.0
SHARE = 0.05
BATCH = 64
SAMPLES = 10
WORTH_SHOWING = 60
TOLERANCE = 1e-5


@dataclass
class InStep:
    """What is remembered between rounds, and what status shows."""

    retained: str = ""
    due: float = 0.0
    round: Round | None = None
    known_serving: dict[RawId, int] | None = None
    known_retained: dict[RawId, int] | None = None
    at_rest: tuple[Quiescence | None, Quiescence | None] = (None, None)
    forth: int = 0
    back: int = 0
    conflicts: int = 0
    samples: list[str] = field(default_factory=list)
    left_back: dict[RawId, int] = field(default_factory=dict)
    left_forth: dict[RawId, int] = field(default_factory=dict)
    ahead: set[RawId] = field(default_factory=set)
    """What a rollback leaves on the retained side alone, for the first round after it."""
    kept: int = 0
    reason: str | None = None
    last: float = 0.0

    @property
    def left_behind(self) -> int:
        """Points that one side has and the other cannot be given."""
        return len(self.left_back) + len(self.left_forth)

    def as_json(self, now: float) -> dict[str, Any]:
        lag = round(now - self.last) if self.last else 0
        row: dict[str, Any] = {
            "collection": self.retained,
            "lagSeconds": lag if lag > WORTH_SHOWING else 0,
            "toServing": self.forth,
            "toRetained": self.back,
            "conflicts": self.conflicts,
            "leftBehind": self.left_behind,
        }
        if self.samples:
            row["samples"] = self.samples
        if self.reason:
            row["reason"] = self.reason
        return row


@dataclass(frozen=True)
class Pair:
    """The two sides, and the encoder of the retained one if it can be asked."""

    serving: CollectionState
    retained: CollectionState
    back_embedder: Embedder | None
    text_field: str | None

    def forth(self, work: Work) -> Transform | None:
        return across(work.server.points, self.retained, self.serving, work.embedder, self.text_field)

    def back(self, work: Work) -> Transform | None:
        return across(work.server.points, self.serving, self.retained, self.back_embedder, self.text_field)


async def keep(work: Work, pair: Pair, memory: InStep, until: float = math.inf) -> None:
    """Go on with a round, or begin one if it is time; returns when it is over or `until` has come."""
    clock = work.clock
    if memory.retained != pair.retained.name:
        memory.__dict__.update(InStep(retained=pair.retained.name).__dict__)
    if memory.round is None:
        if clock.monotonic() < memory.due:
            return
        rest = await _quiescence(work, pair)
        if _still(memory.at_rest, rest):
            memory.due, memory.last = clock.monotonic() + PAUSE_SECONDS, clock.now()
            return
        memory.round = Round(work, pair, rest)
    if await _advance(memory.round, work, pair, memory, until):
        took = clock.monotonic() - memory.round.since
        memory.at_rest = memory.round.rest
        memory.round = None
        memory.due, memory.last = clock.monotonic() + max(PAUSE_SECONDS, took / SHARE), clock.now()


async def take_back(work: Work, pair: Pair, memory: InStep, until: float) -> bool:
    """One round before a rollback, in one direction: what changed on the serving side goes to the retained one.

    What was written to the retained side alone stays there, and is neither overwritten nor taken for deleted.
    True when it is over; `memory.known_serving` then are the versions that a pass can go on from.
    """
    if memory.retained != pair.retained.name:
        memory.__dict__.update(InStep(retained=pair.retained.name).__dict__)
    if memory.round is None or not memory.round.only_back:
        memory.round = Round(work, pair, (None, None), only_back=True)
    if not await _advance(memory.round, work, pair, memory, until):
        return False
    memory.round = None
    return True


async def _advance(current: Round, work: Work, pair: Pair, memory: InStep, until: float) -> bool:
    """A round that broke off is given up: what it had taken in hand is found again by the next one."""
    try:
        return await current.advance(work, pair, memory, until)
    except BaseException:
        memory.round, memory.at_rest = None, (None, None)
        raise


async def _quiescence(work: Work, pair: Pair) -> tuple[Quiescence | None, Quiescence | None]:
    admin = work.server.admin
    return await admin.quiescence(pair.serving.name), await admin.quiescence(pair.retained.name)


def _still(
    before: tuple[Quiescence | None, Quiescence | None], now: tuple[Quiescence | None, Quiescence | None]
) -> bool:
    return all(b is not None and n is not None and b.same_as(n) for b, n in zip(before, now, strict=True))


class Round:
    """One comparison of both sides, and the writes that follow from it."""

    def __init__(
        self,
        work: Work,
        pair: Pair,
        rest: tuple[Quiescence | None, Quiescence | None],
        *,
        only_back: bool = False,
    ) -> None:
        self.since = work.clock.monotonic()
        self.rest = rest
        self.only_back = only_back
        self._serving = Scan(work, pair.serving)
        self._retained = Scan(work, pair.retained)
        self._diff: Diff | None = None

    async def advance(self, work: Work, pair: Pair, memory: InStep, until: float) -> bool:
        """Scan and write until the time is over; true when both sides are in step again."""
        if not await self._serving.advance(until) or not await self._retained.advance(until):
            return False
        if self._diff is None:
            self._diff = await self._compare(work, pair, memory)
        return await self._apply(work, pair, memory, self._diff, until)

    async def _compare(self, work: Work, pair: Pair, memory: InStep) -> Diff:
        here, there = self._serving.seen, self._retained.seen
        restored = memory.known_serving is None or memory.known_retained is None
        if memory.known_serving is None or memory.known_retained is None:
            mark = pair.serving.marks.in_step or {}
            same = mark.get("collection") == pair.retained.name
            memory.known_serving = restore(here, pair.serving.marks.at_switch, len(here)).versions
            memory.known_retained = restore(there, mark if same else None, len(there)).versions
            self._know_deleted(pair, memory, there)
        diff = difference(Side(memory.known_serving, here), Side(memory.known_retained, there))
        if self.only_back:
            memory.ahead = set(diff.forth)
            diff.forth.clear()
            diff.drop_serving.clear()
        self._keep_what_was_lost(diff, memory)
        memory.left_back = _pass_over(diff.back, memory.left_back)
        memory.left_forth = _pass_over(diff.forth, memory.left_forth)
        await self._settle(work, pair, memory, diff, [*diff.back, *diff.forth] if restored else diff.conflicts)
        memory.conflicts += len(diff.conflicts)
        memory.samples = [*memory.samples, *map(wire.id_text, diff.conflicts)][-SAMPLES:]
        return diff

    @staticmethod
    def _know_deleted(pair: Pair, memory: InStep, there: Mapping[RawId, int]) -> None:
        """Where the mark vouches for every point of the serving side, each was on the retained one too."""
        if "highest" not in (pair.serving.marks.at_switch or {}):
            return
        known = memory.known_retained or {}
        known.update({point: UNKNOWN for point in memory.known_serving or () if point not in there})

    def _keep_what_was_lost(self, diff: Diff, memory: InStep) -> None:
        """One side has lost more than half of its points: that must not empty the other one too."""
        for gone, side in ((diff.drop_retained, self._serving), (diff.drop_serving, self._retained)):
            if is_loss(len(gone), len(side.seen)):
                diff.conflicts = [point for point in diff.conflicts if point not in set(gone)]
                memory.kept = max(memory.kept, len(gone))
                memory.reason = f"{len(gone):,} points have gone from one side at once: the other one keeps them"
                gone.clear()

    async def _settle(self, work: Work, pair: Pair, memory: InStep, diff: Diff, doubtful: Sequence[RawId]) -> None:
        """Of whole buckets that look changed after a restart, what is equal all the same needs nothing."""
        doubtful = [p for p in doubtful if p in self._serving.seen and p in self._retained.seen]
        for start in range(0, len(doubtful), BATCH):
            page = doubtful[start : start + BATCH]
            here = {p.id: p for p in await work.server.points.fetch(pair.serving.name, page)}
            there = {p.id: p for p in await work.server.points.fetch(pair.retained.name, page)}
            compared = pair.serving if same_encoder(pair.serving.schema, pair.retained.schema) else None
            for point in page:
                if point in here and point in there and _same(here[point], there[point], compared):
                    diff.back.pop(point, None)
                    diff.forth.pop(point, None)
                    diff.conflicts = [other for other in diff.conflicts if other != point]
                    self._known(memory, serving=True)[point] = self._serving.seen[point]
                    self._known(memory, serving=False)[point] = self._retained.seen[point]

    @staticmethod
    def _known(memory: InStep, *, serving: bool) -> dict[RawId, int]:
        known = memory.known_serving if serving else memory.known_retained
        if known is None:
            raise LookupError("a comparison leaves what is known")
        return known

    async def _apply(self, work: Work, pair: Pair, memory: InStep, diff: Diff, until: float) -> bool:
        here, there = self._known(memory, serving=True), self._known(memory, serving=False)
        moved = bool(diff)
        while diff.forth or diff.back:
            if work.clock.monotonic() >= until:
                return False
            if diff.forth:
                carried = _Way(pair.retained, pair.serving, there, here, memory.left_forth, pair.forth(work))
                memory.forth += await carried.carry(work, _take(diff.forth), memory)
            else:
                carried = _Way(pair.serving, pair.retained, here, there, memory.left_back, pair.back(work))
                memory.back += await carried.carry(work, _take(diff.back), memory)
        await _drop(work, pair.serving, diff.drop_serving, here, there)
        await _drop(work, pair.retained, diff.drop_retained, here, there)
        memory.forth += len(diff.drop_serving)
        memory.back += len(diff.drop_retained)
        if moved:
            await self._remember(work, pair, memory)
        return True

    async def _remember(self, work: Work, pair: Pair, memory: InStep) -> None:
        """In step, durably. Whatever was written before the scans began has been seen by them."""
        here, there = self._known(memory, serving=True), self._known(memory, serving=False)
        since = [rest.last if rest else None for rest in self.rest]
        sure_here = pair.serving.one_sequence and not memory.left_back
        sure_there = pair.retained.one_sequence and not memory.left_forth
        written = {
            marks.AT_SWITCH: checkpoint_of(here, since[0] if sure_here else None),
            marks.IN_STEP: {
                "collection": pair.retained.name,
                **checkpoint_of(there, since[1] if sure_there else None),
            },
        }
        await work.server.admin.mark(pair.serving.name, written)


@dataclass
class _Way:
    """From one side to the other: the versions known of both, what could not be carried, and how it is made."""

    source: CollectionState
    target: CollectionState
    known_source: dict[RawId, int]
    known_target: dict[RawId, int]
    left: dict[RawId, int]
    make: Transform | None

    async def carry(self, work: Work, batch: dict[RawId, int], memory: InStep) -> int:
        """Write points of one side to the other; how many could be.

        What the application touches meanwhile is found by the next round. What cannot be made is not known to be
        in step, or it would be taken for deleted where it is missing; it is tried again when it changes. What was
        deleted since the scan is known, so that whoever looks next sees it go, be it a pass that has only this.
        """
        told = Writes()
        points: Sequence[RawPoint] = ()
        there = set(batch)
        if self.make is None:
            told.left_because = f"the encoder of {self.target.name} cannot be asked"
        else:
            found = await work.server.points.fetch(self.source.name, list(batch))
            there = {point.id for point in found}
            points = await AsManyAsPossible(told, self.make)(found)
            batch = batch | wire.as_read(found, batch)
        await self._write(work, points, batch)
        self.known_source.update({point: version for point, version in batch.items() if point not in there})
        done = {point.id for point in points}
        left = {point: batch[point] for point in there if point not in done}
        if left:
            self.left.update(left)
            memory.reason = told.left_because or "some points have no text to embed"
        return len(points)

    async def _write(self, work: Work, points: Sequence[RawPoint], batch: dict[RawId, int]) -> None:
        if not points:
            return
        name = self.target.name
        await work.server.points.upsert(name, points)
        ids = [point.id for point in points]
        now = await work.server.points.versions(name, ids, Probe.of(self.target.schema))
        there = {p.id: p for p in await work.server.points.fetch(name, ids)}
        for point in points:
            self.known_source[point.id] = batch[point.id]
            if point.id in there and point.id in now and _same(point, there[point.id], self.target):
                self.known_target[point.id] = now[point.id]


def _pass_over(changed: dict[RawId, int], left: dict[RawId, int]) -> dict[RawId, int]:
    """What could not be carried at this very version is not tried again; what of `left` that still is."""
    still = {point: version for point, version in left.items() if changed.get(point) == version}
    for point in still:
        del changed[point]
    return still


def _take(pending: dict[RawId, int]) -> dict[RawId, int]:
    batch = dict(list(pending.items())[:BATCH])
    for point in batch:
        del pending[point]
    return batch


async def _drop(
    work: Work, side: CollectionState, points: list[RawId], here: dict[RawId, int], there: dict[RawId, int]
) -> None:
    if points:
        await work.server.points.delete(side.name, points)
    for point in points:
        here.pop(point, None)
        there.pop(point, None)


def _same(one: RawPoint, other: RawPoint, target: CollectionState | None) -> bool:
    """Equal payloads; with a `target`, its vectors too: dense ones of one direction (Cosine keeps no lengths)."""
    if wire.canonical_payload(one.payload) != wire.canonical_payload(other.payload):
        return False
    if any(
        wire.read_sparse(one.vectors, name) != wire.read_sparse(other.vectors, name)
        for name in (target.schema.sparse if target else ())
    ):
        return False
    return all(
        _same_direction(wire.read_dense(one.vectors, vector.name), wire.read_dense(other.vectors, vector.name))
        for vector in (target.schema.vectors if target else ())
    )


def _same_direction(one: wire.Floats | None, other: wire.Floats | None) -> bool:
    if one is None or other is None:
        return (one is None) == (other is None)
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return lengths == 0 or float(np.dot(one.ravel(), other.ravel())) / lengths > 1 - TOLERANCE


def retained_by(serving: CollectionState, mine: Sequence[CollectionState]) -> CollectionState | None:
    """The collection that served right before `serving` and is still retained."""
    retained = [s for s in mine if s.marks.replaced and s.marks.replaced.by == serving.name]
    return max(retained, key=lambda s: s.marks.replaced.at if s.marks.replaced else 0.0, default=None)
