"""One side of a round: what it held when both were in step, and what a scan finds there now."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import numpy as np

from teal.domain import keys as k
from teal.domain.buckets import Buckets
from teal.domain.columns import NO_DIGEST, Columns, aligned, columns_of, pieces
from teal.domain.epoch import Floors, Scan, comparable
from teal.domain.keys import Keys, Mask
from teal.domain.marks import SideNote
from teal.domain.observed import CollectionState
from teal.domain.point_state import State, States, by_ledger, by_marks, out_of_order
from teal.domain.rest import Numbers
from teal.migration.context import Context
from teal.migration.copying.circumstances import NOTHING, circumstances_of
from teal.migration.copying.scan import PartScan
from teal.migration.copying.side_ledger import SideLedger
from teal.migration.sync.notes import floors_of
from teal.qdrant import raw_keys, wire
from teal.qdrant.barrier import Barriers
from teal.qdrant.wire import RawId, RawPoint

READ_AT_ONCE = 500


@dataclass(eq=False)
class Evidence:
    """By what the points of one part are judged: the ledger, or after a restart the note of an earlier process."""

    floors: Floors | None
    then: Buckets | None = None
    now: Buckets | None = None
    restored: bool = False
    complete: bool = True

    def states(self, keys: Keys, known: Columns, seen: Columns) -> States:
        """Of each key, whether it changed on this side."""
        if not self.restored:
            return by_ledger(keys, known, seen, self.floors, complete=self.complete)
        if self.then is None or self.now is None:
            return np.full(len(keys), State.UNKNOWN, np.uint8)
        return by_marks(keys, seen, self.floors, self.then, self.then.compared(self.now))


class RoundSide:
    """`seen` of one part after the other, in step with the other side's."""

    def __init__(
        self,
        ctx: Context,
        state: CollectionState,
        ledger: SideLedger,
        barriers: Barriers,
        note: SideNote | None,
        sums: Buckets | None,
    ) -> None:
        """`note` is that of an earlier process; `sums`: of what it noted and what Teal has carried since."""
        self.state, self.ledger, self.barriers = state, ledger, barriers
        self.begun_in: Scan = NOTHING
        self.numbers: Numbers | None = None
        self.same_replicas = True
        self.relied = False
        self.outlived = False
        """Whether the note of an earlier process is of another epoch, so that its floors say nothing any more."""
        self.seen_all = False
        """Whether all that was sent before the round is applied, and so seen by it."""
        self._ctx, self._note, self._sums = ctx, note, sums
        self._reads = ctx.server.reads(state)
        self._scan = PartScan(ctx.server, state, ledger.total)

    @property
    def name(self) -> str:
        return self.state.name

    @property
    def replicated(self) -> bool:
        """Whether a shard may have several replicas."""
        epoch = self.begun_in.epoch
        return epoch is None or epoch.replicated

    async def begin(self, *, barrier: bool = True) -> None:
        """A barrier, so that what was acknowledged is applied; then how far the replicas are.

        Without `barrier` somebody else counts the operations of this side, and makes the barriers.
        """
        self.seen_all = not barrier or await self.barriers.barrier()
        self.numbers = await self.barriers.look()
        self.begun_in = circumstances_of(self.numbers, self._ctx.observed.version, self.state)

    async def next(self) -> list[Columns]:
        """The points of the next part as they are now; parts of one range only are brought together."""
        found: list[Columns] = []
        while (seen := await self._scan.next()) is not None:
            found += pieces(seen.points)
            if seen.upto is None:
                break
        return found

    async def evidence(self, part: int, seen: list[Columns], *, restored: bool) -> tuple[Evidence, list[Columns]]:
        """How the points of a part are judged; what was seen, with digests if contents had to be read for it."""
        if not restored:
            floors = comparable(self.ledger.scans[part], self.begun_in)
            if floors is not None and self._is_another_replica(part, seen, floors):
                self.same_replicas, floors = False, None
            self.relied = self.relied or floors is not None
            return Evidence(floors, complete=part not in self.ledger.incomplete), seen
        floors = floors_of(self._note, part, self.begun_in)
        self.outlived = self.outlived or floors is None
        then = self._sums
        if then is None:
            return Evidence(None, restored=True), seen
        if floors is None:
            seen = [await self._with_digests(piece, np.ones(len(piece), np.bool_)) for piece in seen]
        elif floors.low < floors.high:
            seen = await self._with_digests_in_doubt(seen, floors, then)
        self.relied = self.relied or floors is not None
        now = Buckets(len(then))
        for piece in seen:
            now.add(piece)
            await asyncio.sleep(0)
        return Evidence(floors, _only_part(then, part, self.ledger.total), now, restored=True), seen

    def before(self, evidence: Evidence, part: int) -> Scan | None:
        """The scan after which this part was last in step, by the ledger or by the note of an earlier process."""
        if not evidence.restored:
            return self.ledger.scans[part]
        return None if evidence.floors is None else Scan(evidence.floors, self.begun_in.epoch)

    def _is_another_replica(self, part: int, seen: list[Columns], floors: Floors) -> bool:
        """Whether a version that no scan of this epoch can show says that another replica has answered."""
        rows = aligned(self.ledger.rows(part), iter(seen))
        return any(out_of_order(known, now, floors).any() for known, now in rows)

    async def _with_digests_in_doubt(self, seen: list[Columns], floors: Floors, sums: Buckets) -> list[Columns]:
        """Which shard a point is on is not known, so a version between the floors says nothing. Then the sum of
        its bucket has to, which takes the contents of all points of the bucket.
        """
        doubtful = np.zeros(len(sums), np.bool_)
        for piece in seen:
            between = (piece.versions > floors.low) & (piece.versions <= floors.high)
            doubtful[sums.of(piece.keys)[between]] = True
        return [await self._with_digests(piece, doubtful[sums.of(piece.keys)]) for piece in seen]

    async def _with_digests(self, piece: Columns, wanted: Mask) -> Columns:
        """`piece` with the digests of the `wanted` rows as they are now."""
        digests, rows = np.full(len(piece), NO_DIGEST, np.uint64), np.flatnonzero(wanted)
        for start in range(0, len(rows), READ_AT_ONCE):
            some = rows[start : start + READ_AT_ONCE]
            ids = raw_keys.raw_ids(k.take(piece.keys, some))
            found = await self.contents(ids)
            digests[some] = [wire.content_digest(found[point]) if point in found else NO_DIGEST for point in ids]
        return replace(piece, digests=digests)

    def carried(self, before: Columns, now: Columns) -> None:
        """Teal has written these here: the sums of their buckets tell of other changes only."""
        if self._sums is not None:
            self._sums.remove(before)
            self._sums.add(now)

    async def contents(self, ids: list[RawId]) -> dict[RawId, RawPoint]:
        """The points of these ids as they are now."""
        return {point.id: point for point in await self._reads.fetch(self.name, ids)}

    async def digests(self, ids: list[RawId]) -> dict[RawId, int]:
        """The digests of the points of these ids as they are now."""
        return {point: wire.content_digest(found) for point, found in (await self.contents(ids)).items()}

    async def versions(self, ids: list[RawId]) -> dict[RawId, int]:
        """The versions that those of these points which exist have now."""
        feed = await self._ctx.server.feed(self.state)
        found = await feed.versions(columns_of(raw_keys.of(ids)).keys)
        return dict(zip(raw_keys.raw_ids(found.keys), found.versions.tolist(), strict=True))

    async def agreed(self, ids: list[RawId]) -> dict[RawId, int]:
        """The digests of those points of these ids that all replicas hold alike."""
        found = await self._ctx.server.points.fetch(self.name, ids, agreed=True)
        return {point.id: wire.content_digest(point) for point in found}

    def stop(self) -> None:
        """Ask for nothing more."""
        self._scan.stop()


def _only_part(sums: Buckets, part: int, total: int) -> Buckets:
    """The sums of the buckets of one part; all others are those of nothing."""
    found = Buckets(len(sums))
    own = np.arange(len(sums)) % total == part
    found.ids[own], found.contents[own] = sums.ids[own], sums.contents[own]
    found.unproven(own & ~sums.proven)
    return found
