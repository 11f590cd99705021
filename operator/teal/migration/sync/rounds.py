"""Both live revisions stay in step, for clients that move with their own deployment.

From the cut-over until its retention ends, the retained collection can still be written to by
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

from teal.domain.in_step import Diff, SideVersions, compare_sides, is_loss
from teal.domain.ledger import UNKNOWN, RawId, checkpoint_of, restore, sure_up_to
from teal.domain.marks import Checkpoint, InStep
from teal.domain.plan import same_encoder
from teal.migration.context import Context
from teal.migration.copying import conditional_writes
from teal.migration.copying.equality import same
from teal.migration.copying.scan import Scan
from teal.migration.copying.transform import stale_between
from teal.migration.sync.direction import Direction
from teal.migration.sync.memory import PairMemory, Rest, UnfinishedRound
from teal.migration.sync.pairs import Pair
from teal.migration.sync.write_ahead import WriteAheadLog
from teal.qdrant import wire

PAUSE_SECONDS = 10.0
SHARE = 0.05
FORGOTTEN_SECONDS = 300.0
SAMPLES = 10


async def keep(ctx: Context, pair: Pair, memory: PairMemory, until: float = math.inf) -> None:
    """Go on with a round, or begin one if it is time; returns when it is over or `until` has come.

    A round that was left half-way a while ago is given up: what it has seen may not be so any more.
    """
    clock = ctx.clock
    began, current = clock.monotonic(), memory.round
    if current is None or began - current.left_at > FORGOTTEN_SECONDS:
        if began < memory.due:
            return
        rest = await _quiescence(ctx, pair)
        if _still(memory.at_rest, rest):
            memory.due, memory.last = clock.monotonic() + PAUSE_SECONDS, clock.now()
            return
        current = _begin(ctx, pair, memory, rest)
    over = await _advance(current, ctx, pair, memory, until)
    current.left_at = clock.monotonic()
    current.took += current.left_at - began
    if over:
        memory.at_rest, memory.round = current.rest, None
        memory.due, memory.last = current.left_at + max(PAUSE_SECONDS, current.took / SHARE), clock.now()


async def bring_to_retained(ctx: Context, pair: Pair, memory: PairMemory, until: float) -> bool:
    """One round before a rollback, in one direction: what changed on the serving side goes to the retained one.

    What was written to the retained side alone stays there, and is neither overwritten nor taken for deleted.
    True when it is over; `memory.known_serving` then are the versions that a pass can go on from.
    """
    current = memory.round
    if current is None or not current.only_to_retained:
        rest = await _quiescence(ctx, pair)
        current = _begin(ctx, pair, memory, rest, only_to_retained=True)
    if not await _advance(current, ctx, pair, memory, until):
        return False
    memory.round = None
    return True


def _begin(
    ctx: Context, pair: Pair, memory: PairMemory, rest: Rest, *, only_to_retained: bool = False
) -> UnfinishedRound:
    if memory.known_serving is None:
        memory.carried = WriteAheadLog.read(memory.retained, pair.serving.marks.carried.get(memory.retained))
    scans = Scan(ctx, pair.serving), Scan(ctx, pair.retained)
    memory.round = UnfinishedRound(*scans, rest, only_to_retained, left_at=ctx.clock.monotonic())
    return memory.round


async def _advance(current: UnfinishedRound, ctx: Context, pair: Pair, memory: PairMemory, until: float) -> bool:
    """A round that broke off is given up: what it had taken in hand is found again by the next one."""
    try:
        return await Round(current).advance(ctx, pair, memory, until)
    except BaseException:
        memory.round, memory.at_rest = None, (None, None)
        raise


async def _quiescence(ctx: Context, pair: Pair) -> Rest:
    admin = ctx.server.admin
    return await admin.quiescence(pair.serving.name), await admin.quiescence(pair.retained.name)


def _still(before: Rest, now: Rest) -> bool:
    return all(b is not None and n is not None and b.same_as(n) for b, n in zip(before, now, strict=True))


class Round:
    """One comparison of both sides, and the writes that follow from it."""

    def __init__(self, state: UnfinishedRound) -> None:
        self._state = state
        self._serving = state.serving
        self._retained = state.retained

    async def advance(self, ctx: Context, pair: Pair, memory: PairMemory, until: float) -> bool:
        """Scan and write until the time is over; true when both sides are in step again."""
        if not await self._serving.advance(until) or not await self._retained.advance(until):
            return False
        if self._state.diff is None:
            self._state.diff = await self._compare(ctx, pair, memory)
        return await self._apply(ctx, pair, memory, self._state.diff, until)

    async def _compare(self, ctx: Context, pair: Pair, memory: PairMemory) -> Diff:
        here, there = self._serving.seen, self._retained.seen
        restored = memory.known_serving is None or memory.known_retained is None
        if memory.known_serving is None or memory.known_retained is None:
            noted = _noted(ctx, pair)
            memory.known_serving = restore(here, noted.here, len(here)).versions
            memory.known_retained = restore(there, noted.there, len(there)).versions
            if noted.here and noted.here.highest is not None:
                self._know_deleted(memory, there)
            self._know_carried(pair, memory)
        diff = compare_sides(SideVersions(memory.known_serving, here), SideVersions(memory.known_retained, there))
        if self._state.only_to_retained:
            self._state.ahead = bool(diff.to_serving)
            diff.to_serving.clear()
            diff.drop_serving.clear()
        self._keep_what_was_lost(diff, memory)
        memory.uncarried_to_retained = _pass_over(diff.to_retained, memory.uncarried_to_retained)
        memory.uncarried_to_serving = _pass_over(diff.to_serving, memory.uncarried_to_serving)
        await self._settle(
            ctx, pair, memory, diff, [*diff.to_retained, *diff.to_serving] if restored else diff.conflicts
        )
        memory.conflicts += len(diff.conflicts)
        memory.samples = [*memory.samples, *map(wire.id_text, diff.conflicts)][-SAMPLES:]
        return diff

    @staticmethod
    def _know_deleted(memory: PairMemory, there: Mapping[RawId, int]) -> None:
        """Where the mark vouches for every point of the serving side, each was on the retained one too."""
        known = memory.known_retained or {}
        known.update({point: UNKNOWN for point in memory.known_serving or () if point not in there})

    def _know_carried(self, pair: Pair, memory: PairMemory) -> None:
        """What Teal brought to one side and the other does not have any more was deleted there."""
        for side, other, known, unknown in (
            (self._retained, self._serving, memory.known_retained, memory.known_serving),
            (self._serving, self._retained, memory.known_serving, memory.known_retained),
        ):
            for point in memory.carried.to((pair.retained if side is self._retained else pair.serving).name):
                if point in side.seen and point not in other.seen and known is not None and unknown is not None:
                    known[point] = side.seen[point]
                    unknown.setdefault(point, UNKNOWN)

    def _keep_what_was_lost(self, diff: Diff, memory: PairMemory) -> None:
        """One side has lost more than half of its points: that must not empty the other one too."""
        for gone, side in ((diff.drop_retained, self._serving), (diff.drop_serving, self._retained)):
            if is_loss(len(gone), len(side.seen)):
                diff.conflicts = [point for point in diff.conflicts if point not in set(gone)]
                memory.kept = max(memory.kept, len(gone))
                memory.reason = f"{len(gone):,} points have gone from one side at once: the other one keeps them"
                gone.clear()

    async def _settle(
        self, ctx: Context, pair: Pair, memory: PairMemory, diff: Diff, doubtful: Sequence[RawId]
    ) -> None:
        """Of whole buckets that look changed after a restart, what is equal all the same needs nothing."""
        doubtful = [p for p in doubtful if p in self._serving.seen and p in self._retained.seen]
        compared = (pair.serving, pair.retained) if same_encoder(pair.serving, pair.retained) else ()
        stale_there = stale_between(pair.serving, pair.retained.name)
        stale_here = stale_between(pair.retained, pair.serving.name)
        size = ctx.options.carry_batch
        for start in range(0, len(doubtful), size):
            page = doubtful[start : start + size]
            here = {p.id: p for p in await ctx.server.points.fetch(pair.serving.name, page)}
            there = {p.id: p for p in await ctx.server.points.fetch(pair.retained.name, page)}
            equal = {p for p in page if p in here and p in there and same(here[p], there[p], *compared)}
            diff.conflicts = [point for point in diff.conflicts if point not in equal]
            for point in equal:
                if point in (stale_there if point in diff.to_retained else stale_here):
                    continue
                diff.to_retained.pop(point, None)
                diff.to_serving.pop(point, None)
                self._known(memory, serving=True)[point] = self._serving.seen[point]
                self._known(memory, serving=False)[point] = self._retained.seen[point]

    @staticmethod
    def _known(memory: PairMemory, *, serving: bool) -> dict[RawId, int]:
        known = memory.known_serving if serving else memory.known_retained
        if known is None:
            raise LookupError("a comparison leaves what is known")
        return known

    async def _apply(self, ctx: Context, pair: Pair, memory: PairMemory, diff: Diff, until: float) -> bool:
        moved = bool(diff)
        while diff.to_serving or diff.to_retained:
            if ctx.clock.monotonic() >= until:
                return False
            if diff.to_serving:
                memory.to_serving += await self._carry(
                    ctx, pair, self._to_serving(ctx, pair, memory), diff.to_serving, memory
                )
            else:
                memory.to_retained += await self._carry(
                    ctx, pair, self._to_retained(ctx, pair, memory), diff.to_retained, memory
                )
        memory.to_serving += await self._drop(ctx, self._to_serving(ctx, pair, memory), diff.drop_serving)
        memory.to_retained += await self._drop(ctx, self._to_retained(ctx, pair, memory), diff.drop_retained)
        if moved:
            await self._remember(ctx, pair, memory)
        return True

    def _to_serving(self, ctx: Context, pair: Pair, memory: PairMemory) -> Direction:
        here, there = self._known(memory, serving=True), self._known(memory, serving=False)
        seen, left = self._serving.seen, memory.uncarried_to_serving
        return Direction(pair.retained, pair.serving, there, here, seen, left, pair.to_serving(ctx))

    def _to_retained(self, ctx: Context, pair: Pair, memory: PairMemory) -> Direction:
        here, there = self._known(memory, serving=True), self._known(memory, serving=False)
        seen, left = self._retained.seen, memory.uncarried_to_retained
        return Direction(pair.serving, pair.retained, here, there, seen, left, pair.to_retained(ctx))

    @staticmethod
    async def _drop(ctx: Context, direction: Direction, points: list[RawId]) -> int:
        dropped = await conditional_writes.delete(
            ctx.server.points, direction.target, points, direction.seen_target
        )
        for point in dropped:
            direction.known_source.pop(point, None)
            direction.known_target.pop(point, None)
        return len(dropped)

    @staticmethod
    async def _carry(
        ctx: Context, pair: Pair, direction: Direction, pending: dict[RawId, int], memory: PairMemory
    ) -> int:
        batch = _take(pending, ctx.options.carry_batch)
        await memory.carried.tell(ctx, pair.serving.name, direction.target.name, batch)
        count, why_not = await direction.carry(ctx, batch)
        memory.reason = why_not or memory.reason
        return count

    async def _remember(self, ctx: Context, pair: Pair, memory: PairMemory) -> None:
        """In step, durably. Whatever was written before the scans began has been seen by them."""
        here, there = self._known(memory, serving=True), self._known(memory, serving=False)
        before = _noted(ctx, pair)
        since_here, since_there = (rest.last if rest else None for rest in self._state.rest)
        if memory.uncarried_to_retained or not pair.serving.one_sequence:
            since_here = None
        if memory.uncarried_to_serving or self._state.ahead or not pair.retained.one_sequence:
            since_there = None
        if since_here is not None and since_there is not None:
            memory.carried.keep_lately()
        in_step = InStep(
            pair.retained.name,
            here=checkpoint_of(here, since_here or _highest(before.here)),
            there=checkpoint_of(there, since_there or _highest(before.there)),
        )
        await ctx.server.mark(pair.serving.name, in_step, memory.carried.as_mark())


def _highest(proof: Checkpoint | None) -> int | None:
    return proof.highest if proof else None


def _pass_over(changed: dict[RawId, int], left: dict[RawId, int]) -> dict[RawId, int]:
    """What could not be carried at this very version is not tried again; what of `left` that still is."""
    still = {point: version for point, version in left.items() if changed.get(point) == version}
    for point in still:
        del changed[point]
    return still


def _noted(ctx: Context, pair: Pair) -> InStep:
    """Both sides' digests of when they were last in step.

    A collection that never was with what serves now was so with others: then nothing is known of the serving
    side, and of the retained one what the last of its own successors noted.
    """
    if pair.retained.name in pair.serving.marks.in_step:
        return pair.serving.marks.in_step[pair.retained.name]
    successors = [state.marks.in_step.get(pair.retained.name) for state in ctx.observed.states.values()]
    last = max((noted for noted in successors if noted), key=_age, default=InStep(pair.retained.name))
    return InStep(pair.retained.name, here=None, there=last.there)


def _age(noted: InStep) -> int:
    """The higher the later: by the last change that it knows of."""
    return sure_up_to(noted.there)


def _take(pending: dict[RawId, int], size: int) -> dict[RawId, int]:
    batch = dict(list(pending.items())[:size])
    for point in batch:
        del pending[point]
    return batch
