"""One comparison of two live collections, part by part, and the writes that follow from it.

A round begins with a barrier and a look at both sides, goes over both in the same parts, reads what may have
changed, and moves what one side is known to have changed (`domain.in_step`). The contents that it writes are noted
with the digest of what was *written*, without a version: if the target then holds something else, the application
has changed it. At the end the epochs are read again; the durable notes go forward if nothing was left over.

Where a barrier was refused, a write that was sent before, even one of Teal's own, may still be applied after the
scan. Then the round moves what it sees, but its notes do not go forward, and the write-ahead log stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import numpy as np

from teal.domain import keys as k
from teal.domain.columns import CONTENT, Columns, columns_of
from teal.domain.epoch import Scan, comparable
from teal.domain.in_step import Move, OneWay, ruling
from teal.domain.marks import InStep
from teal.domain.plan import same_encoder
from teal.domain.rest import Numbers
from teal.domain.writes import WriteMode
from teal.migration.context import Context
from teal.migration.copying.circumstances import barriers_on, circumstances
from teal.migration.copying.ledgers import whole
from teal.migration.copying.side_ledger import Change
from teal.migration.sync.carry import carry
from teal.migration.sync.comparison import PartWork, Suspects, compared
from teal.migration.sync.judge import NEWER, RETAINED, Found, Judge
from teal.migration.sync.memory import PairMemory
from teal.migration.sync.notes import AGAIN, OPEN_AT_MOST, OpenPoints, side_note, sums_of
from teal.migration.sync.pairs import Pair
from teal.migration.sync.side import RoundSide
from teal.qdrant import raw_keys, wire
from teal.qdrant.together import both
from teal.qdrant.wire import RawId

WAYS: Mapping[OneWay, tuple[int, int]] = {Move.TO_RETAINED: (NEWER, RETAINED), Move.TO_SERVING: (RETAINED, NEWER)}
"""From which side to which one."""
SAMPLES = 10


class Round:
    """Goes on over several steps.

    Attributes:
        took, left_at: monotonic seconds of its keeper.
        only: the one direction in which it writes; `None`: in both.
        moved: how many points it has written.
        overtaken: how many it has left to the next round, because a side changed right before the write.
        exact: whether all that it took for unchanged is.
    """

    def __init__(
        self,
        ctx: Context,
        pair: Pair,
        memory: PairMemory,
        sides: tuple[RoundSide, RoundSide],
        only: OneWay | None,
        *,
        retained_is_later: bool,
    ) -> None:
        self.took = 0.0
        self.left_at = ctx.clock.monotonic()
        self.at_rest: tuple[Numbers | None, Numbers | None] = (None, None)
        self.only = only
        self._retained_is_later = retained_is_later
        self.moved = 0
        self.overtaken = 0
        self._ctx, self._pair, self._memory, self._sides = ctx, pair, memory, sides
        self._judge = Judge(pair, memory, sides)
        self._uncarried: dict[str, dict[RawId, int]] = {state.name: {} for state in (pair.serving, pair.retained)}
        self._unsettled: dict[RawId, tuple[int, int]] = {}
        self._kept = 0
        self.exact = True
        self._part = 0
        self._open: list[PartWork] = []
        self._running: dict[asyncio.Task[None], PartWork] = {}
        options = ctx.options
        self._size = options.carry_batch if same_encoder(pair.serving, pair.retained) else options.embedding_batch
        self._finished: list[PartWork] = []
        self._still_open = memory.open.keys

    @classmethod
    async def begin(
        cls, ctx: Context, pair: Pair, memory: PairMemory, only: OneWay | None, *, retained_is_later: bool
    ) -> Round:
        """`only`: in one direction. Whoever asks for it counts the operations of the side that is left, and makes
        the barriers there.
        """
        ledgers = memory.the_ledgers
        noted = memory.noted or InStep(pair.retained.name)
        serving, retained = pair.serving, pair.retained
        for state, note in ((serving, noted.here), (retained, noted.there)):
            sums = sums_of(note, state, ledgers.total)
            if sums is not None:
                memory.sums.setdefault(state.name, sums)
        sums_here, sums_there = memory.sums.get(serving.name), memory.sums.get(retained.name)
        sides = (
            RoundSide(ctx, serving, ledgers.target, await barriers_on(ctx, serving), noted.here, sums_here),
            RoundSide(ctx, retained, ledgers.source, await barriers_on(ctx, retained), noted.there, sums_there),
        )
        found = cls(ctx, pair, memory, sides, only, retained_is_later=retained_is_later)
        memory.log.seal()
        await both(
            sides[NEWER].begin(barrier=only is not Move.TO_RETAINED),
            sides[RETAINED].begin(barrier=only is not Move.TO_SERVING),
        )
        found.at_rest = (sides[NEWER].numbers, sides[RETAINED].numbers)
        return found

    async def advance(self, ctx: Context, pair: Pair, until: float) -> bool:
        """Compare and write until the monotonic time `until`; true when all parts are done."""
        self._ctx, self._pair = ctx, pair
        try:
            while self._part < self._memory.the_ledgers.total or self._open:
                if not await self._go_on(in_time=ctx.clock.monotonic() < until):
                    return False
        except BaseException:
            self.stop()
            raise
        await self._end()
        return True

    async def _go_on(self, *, in_time: bool) -> bool:
        """Begin with what may begin, and wait for what is under way; false if there is nothing to wait for."""
        most = self._ctx.options.parallelism if in_time else 0
        for work in self._open:
            while work.pending and len(self._running) < most:
                task = asyncio.create_task(self._settle(work, work.pending.popleft()))
                work.under_way += 1
                self._running[task] = work
        if len(self._running) < most and self._part < self._memory.the_ledgers.total:
            await self._compare()
            return True
        if not self._running:
            return False
        for task in (await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED))[0]:
            work = self._running.pop(task)
            work.under_way -= 1
            task.result()
            await self._finish_if_done(work)
        return True

    async def _compare(self) -> None:
        """Take the next part in hand."""
        restored = self._part in self._memory.by_marks
        work = await compared(self._part, self._sides, self._size, self._still_open, restored=restored)
        self._part += 1
        here, there = work.before
        if restored and here is not None and there is not None:
            self._memory.covered[work.part] = (here, there)
        self._tell_losses(work)
        self._open.append(work)
        await self._finish_if_done(work)

    def stop(self) -> None:
        """Ask for nothing more, and give up what is under way: what it may have written stands in the log."""
        for task in self._running:
            task.cancel()
            task.add_done_callback(lambda over: over.cancelled() or over.exception())
        for side in self._sides:
            side.stop()

    @property
    def seen_all(self) -> bool:
        """Whether the round has seen all that was sent before it: a barrier has passed on both sides."""
        return all(side.seen_all for side in self._sides)

    @property
    def leftover(self) -> bool:
        """Whether something could not be brought in step, or may not have been seen."""
        return self._unnamed or any(work.leftover for work in self._finished)

    @property
    def _unnamed(self) -> bool:
        return not self.seen_all or len(self._memory.open) > OPEN_AT_MOST

    # One batch

    async def _settle(self, work: PartWork, batch: Suspects) -> None:
        found = await self._judge.found(work, batch)
        moves: dict[Move, list[Found]] = {move: [] for move in Move}
        settled: list[Found] = []
        for each in found:
            told = ruling(
                *each.states,
                equal=self._judge.equal(each),
                retained_is_later=self._retained_is_later,
                both_written=self._ctx.writes is WriteMode.DUAL_WRITE,
            )
            if told.conflict:
                self._memory.conflicts += 1
                self._memory.samples = [*self._memory.samples, wire.id_text(each.id)][-SAMPLES:]
            (settled if told.move is Move.NONE else moves[told.move]).append(each)
        self._unsettled.update({each.id: each.digests for each in moves[Move.UNSETTLED]})
        self._record(work, [*settled, *moves[Move.UNSETTLED]])
        for way, (source, target) in WAYS.items():
            if self.only in (None, way):
                await self._carry(work, moves[way], source, target)
            else:
                self._postpone(work, moves[way], source)

    def _record(self, work: PartWork, settled: list[Found]) -> None:
        for side in (NEWER, RETAINED):
            self._note(work, side, [each for each in settled if each.points[side] is not None])
            gone = [each.id for each in settled if each.points[side] is None]
            work.drop(side, raw_keys.of(gone))

    @staticmethod
    def _note(work: PartWork, side: int, found: list[Found]) -> None:
        """These stand on a side as they were read. A version that is a digest may be of another content."""
        versions = [v if v < CONTENT else -1 for v in (each.versions[side] for each in found)]
        work.record(side, raw_keys.of([each.id for each in found]), versions, [e.digests[side] for e in found])

    def _postpone(self, work: PartWork, moving: list[Found], source: int) -> None:
        """It is not this round's direction: a later one carries these."""
        name = self._sides[source].name
        before = self._memory.uncarried.get(name, {})
        for each in moving:
            digest = each.digests[source]
            self._uncarried[name][each.id] = digest if before.get(each.id) == digest else AGAIN
        self._record(work, moving)

    async def _carry(self, work: PartWork, moving: list[Found], source: int, target: int) -> None:
        if not moving:
            return
        memory = self._memory
        lost = [each for each in moving if each.points[source] is None and work.lost[source]]
        before = memory.uncarried.get(self._sides[source].name, {})
        left = self._uncarried[self._sides[source].name]
        waiting = [each for each in moving if before.get(each.id) == each.digests[source] and each not in lost]
        left.update({each.id: each.digests[source] for each in waiting})
        todo = [each for each in moving if each not in lost and each not in waiting]
        self._record(work, waiting)
        work.leftover = work.leftover or bool(lost)
        points = [held for each in todo if (held := each.points[source]) is not None]
        gone = [each.id for each in todo if each.points[source] is None]
        seen = {each.id: each.digests[target] for each in todo if each.points[target] is not None}
        make = self._pair.to_retained(self._ctx) if target == RETAINED else self._pair.to_serving(self._ctx)
        done = await carry(
            self._ctx, memory.log, (self._sides[source], self._sides[target]), points, gone, seen, make
        )
        by_id = {each.id: each for each in todo}
        for point in done.left:
            left[point] = AGAIN if done.again else by_id[point].digests[source]
        memory.reason = done.because or memory.reason
        moved = len(done.written) + len(done.deleted)
        overtaken = len(todo) - moved - len(done.left)
        self.overtaken += overtaken
        work.leftover = work.leftover or bool(overtaken)
        self._note(work, source, [by_id[point] for point in done.written])
        written = _columns(done.written)
        work.record_rows(target, written)
        replaced = {point: seen[point] for point in (*done.written, *done.deleted) if point in seen}
        self._sides[target].carried(_columns(replaced), written)
        for side in (NEWER, RETAINED):
            work.drop(side, raw_keys.of([*done.deleted]))
        self._record(work, [by_id[point] for point in done.left])
        self.moved += moved
        if target == RETAINED:
            memory.to_retained += moved
        else:
            memory.to_serving += moved

    # One part, and the end

    def _tell_losses(self, work: PartWork) -> None:
        for count in work.lost:
            if count:
                self._kept += count
                self._memory.reason = f"{count:,} points have gone from one side at once: the other one keeps them"

    async def _finish_if_done(self, work: PartWork) -> None:
        """Note in the ledgers what a part has come to."""
        if work.pending or work.under_way:
            return
        self._open.remove(work)
        for side, recorded, dropped in zip(self._sides, work.recorded, work.dropped, strict=True):
            rewrite = side.ledger.rewrite(work.part)
            await rewrite.put([*rewrite.known(None)], Change(k.joined(dropped), whole(recorded)))
            rewrite.finish()
            side.ledger.scans[work.part] = None
        self._finished.append(work)

    async def _end(self) -> None:
        """The epochs are read again: only then what was noted can be compared later, and stand in the marks."""
        before = self._memory.open
        self._memory.unsettled, self._memory.kept = self._unsettled, self._kept
        self._memory.seen_all = self.seen_all
        self._memory.uncarried.update(self._uncarried)
        scans: list[Scan] = []
        looks = await both(*(circumstances(self._ctx, side.state, side.barriers) for side in self._sides))
        for side, now in zip(self._sides, looks, strict=True):
            scan = Scan.between(side.begun_in.epoch, side.begun_in.floors, now.epoch)
            scans.append(scan if side.same_replicas else Scan(scan.floors, None))
            self.exact = self.exact and (scans[-1].epoch is not None or not side.relied)
        for work in self._finished:
            left = self._unnamed or work.leftover
            for side, scan, then in zip(self._sides, scans, work.before, strict=True):
                side.ledger.scans[work.part] = _as_before(then, scan) if left else scan
            if not left:
                self._memory.covered[work.part] = (scans[NEWER], scans[RETAINED])
                self._memory.by_marks.discard(work.part)
                for side in self._sides:
                    side.ledger.incomplete.discard(work.part)
        await self._remember(before)

    async def _remember(self, before: OpenPoints) -> None:
        """In step, durably. Whatever was written before the round began has been seen by it. `before`: the points
        that were not in step until now.
        """
        memory = self._memory
        outlived = any(side.outlived for side in self._sides)
        memory.noted = memory.noted if memory.by_marks else None
        if not (self.moved or memory.log or outlived or before != memory.open):
            return
        newer, retained = self._sides
        covered = [memory.covered.get(part) for part in range(newer.ledger.total)]
        if not all(covered):
            return  # what an earlier process has noted, if anything, says more than could be noted now
        note = InStep(
            retained.name,
            here=side_note(self._ctx, newer.state, newer.ledger, [pair and pair[NEWER] for pair in covered], 1),
            there=side_note(
                self._ctx, retained.state, retained.ledger, [pair and pair[RETAINED] for pair in covered], 1
            ),
            at=self._ctx.clock.now(),
            **memory.open.written(),
        )
        covered_keys = {} if self.leftover else memory.log.covered()
        await self._ctx.server.mark(newer.name, note, clear=covered_keys.pop(newer.name, ()))
        for name, keys in covered_keys.items():
            await self._ctx.server.mark(name, clear=keys)


def _columns(digests: Mapping[RawId, int]) -> Columns:
    return columns_of(raw_keys.of([*digests]), digests=np.array([*digests.values()], np.uint64))


def _as_before(then: Scan | None, now: Scan) -> Scan:
    """Where something was left over, the floors of the last scan that left nothing over stay. What was left over
    has no row, or an older one, and would else look as if another replica had told its version.
    """
    floors = comparable(then, now)
    return Scan(now.floors, None) if floors is None else Scan(floors, now.epoch)
