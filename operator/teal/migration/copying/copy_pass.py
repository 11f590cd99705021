"""One pass of catching up; populating green is the first of them.

A pass reads the version of every point of blue, copies those whose version is not the one in the ledger, and
deletes from green what blue no longer has. The order carries the guarantee: a version is noted *before* the
content is read, so a point that changes in between is copied now and seen as changed by the next pass.

A pass works in slices: `advance` returns when its time is over and goes on where it stopped, so that an edit, a
shutdown or a status write never waits for a large collection.

With `DualWrite` the application writes green too, so a pass only fills in what green has never had, and never
overwrites (`insert_only`). What it fills in can have been deleted on both sides since it was read, and the next
pass sees that; so only a pass that had nothing to write leaves green as the application wants it.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass

from teal.domain.change_field import Watermark
from teal.domain.errors import HeldError
from teal.domain.in_step import is_loss
from teal.domain.ledger import RawId, fingerprint, restore
from teal.domain.marks import Frozen, InStep, Mark
from teal.domain.plan import Population, Strategy
from teal.domain.stale import RecentTextChanges
from teal.domain.writes import WriteMode
from teal.migration.context import Context
from teal.migration.copying.memory import CopyMemory, Progress, Touched, Writes
from teal.migration.copying.scan import Scan, Since
from teal.migration.copying.throttle import Throttle
from teal.migration.copying.transform import ChangedTexts, Transform, stale_between, transform_for
from teal.migration.session import Part
from teal.qdrant import wire
from teal.qdrant.points import Points, at_least

CHECKPOINT_SECONDS = 3.0
RATE_SECONDS = 10.0


Announce = Callable[[Collection[RawId]], Awaitable[None]]
"""Is told which points are about to be written, and makes that durable."""


class Pass:
    """Takes green to blue's state at the versions that one scan sees."""

    def __init__(
        self,
        ctx: Context,
        source: str,
        target: str,
        *,
        by_field: bool = False,
        announce: Announce | None = None,
    ) -> None:
        """`by_field`: look only at what the change field leads to, and at what is new or gone."""
        self._ctx = ctx
        self._clock = ctx.clock
        self._points: Points = ctx.server.points
        self._source, self._target = source, target
        self._transform: Transform = transform_for(ctx)
        self._throttle = Throttle(ctx, source)
        embeds = ctx.plan.population is Population.REEMBED
        self._batch = ctx.options.embedding_batch if embeds else ctx.options.batch
        self._dual = ctx.writes is WriteMode.DUAL_WRITE
        self._field = ctx.options.change_field
        self._rolls_back = ctx.plan.strategy is Strategy.ROLLBACK
        self._announce = announce
        self._memory, self._progress = ctx.session.part(CopyMemory), ctx.session.part(Progress)
        self._writes, self._touched = ctx.session.part(Writes), ctx.session.part(Touched)
        if self._memory.watermark.name != self._field:
            self._memory.watermark = Watermark(self._field)
        self._highest = self._memory.watermark.highest
        self._part = _part(ctx) if by_field else None
        self._scan = Scan(ctx, ctx.the_source(), self._part)
        self._compared = False
        self._pending: deque[dict[RawId, int]] = deque()
        self._gone: list[RawId] = []
        self._running: set[asyncio.Task[None]] = set()
        self._since = self._clock.monotonic()
        self._done_at: deque[tuple[float, int]] = deque([(self._since, 0)])
        self.copied = 0
        self.deleted = 0

    async def advance(self, until: float = math.inf) -> bool:
        """Context until the monotonic time `until`; true when the pass is complete and checkpointed.

        Raises:
            TransientError: try again; nothing that was done is lost.
            HeldError: a point cannot be carried over.
        """
        if not await self._scan.advance(until):
            return False
        if not self._compared:
            await self._compare()
            self._compared = True
        await self._copy_until(until)
        if self._pending or self._running:
            await self._checkpoint(CHECKPOINT_SECONDS)
            return False
        await self._delete_gone()
        await self._checkpoint(0.0)
        self._account()
        return True

    @property
    def scanned(self) -> bool:
        """Whether all that has to be done is known, so that an interrupted pass can go on."""
        return self._compared

    @property
    def by_field(self) -> bool:
        """Whether it looks at a part only."""
        return self._part is not None

    def cancel(self) -> None:
        """Stop copying; what was not finished is found again by the next scan."""
        for task in self._running:
            task.cancel()

    async def _compare(self) -> None:
        """From what the scan saw to what has to be done."""
        memory = self._memory
        if self._ctx.writes is WriteMode.FROZEN:
            await self._hold_to_promise()
        if memory.ledger is None:
            target = self._ctx.the_subject()
            in_step = self._ctx.the_source().marks.in_step.get(self._target, InStep(self._target))
            known = in_step.here if self._rolls_back else target.marks.checkpoint
            ledger = restore(self._scan.seen, known, len(self._scan.seen))
            self._changed_texts().recall(stale_between(target, self._source), self._clock.monotonic())
            if target.points:
                # All of it: what blue loses before its content is read must be known to have been here.
                ledger.suspect(await self._on_green())
            memory.ledger = ledger
        changed = memory.ledger.changed(self._scan.seen)
        if self._dual:
            # What is on green already, or was and has been deleted there, is the application's own affair.
            theirs = {point: version for point, version in changed.items() if point in memory.ledger.versions}
            memory.ledger.record(theirs)
            changed = {point: version for point, version in changed.items() if point not in theirs}
        self._gone = [p for p in memory.ledger.versions if p not in self._scan.seen]
        if self._rolls_back and is_loss(len(self._gone), len(self._scan.seen)):
            self._writes.kept = len(self._gone)
            memory.ledger.forget(self._gone)
            self._gone = []
        # Bucket by bucket, or a checkpoint in the midst of a pass would have parts of all and prove nothing.
        bucket = memory.ledger.digests.bucket
        ids = sorted(changed.items(), key=lambda entry: bucket(entry[0]))
        size = self._batch
        self._pending.extend(dict(ids[i : i + size]) for i in range(0, len(ids), size))
        if not self._writes.passes:
            self._progress.total = len(self._scan.seen)
            self._progress.done = len(self._scan.seen) - len(ids)

    def _changed_texts(self) -> RecentTextChanges:
        return self._ctx.session.part(ChangedTexts).of(self._source)

    async def _hold_to_promise(self) -> None:
        """Frozen: what the first scan saw is what every later one must see, in this process or another."""
        now = Frozen(fingerprint(self._scan.seen))
        promised = self._memory.frozen or self._ctx.the_subject().marks.frozen
        if promised is None:
            await self._ctx.server.mark(self._target, now)
            self._memory.frozen = now
        elif promised != now:
            ledger = self._memory.ledger
            moved = list(ledger.changed(self._scan.seen))[:10] if ledger else []
            raise HeldError(
                "WroteWhileFrozen",
                f"spec.migration.writes is Frozen, but {self._source} was written to during the migration. Pause "
                "its writers and retry, or use CatchUp.",
                tuple(wire.id_text(point) for point in moved),
            )

    async def _on_green(self) -> set[RawId]:
        found: set[RawId] = set()
        async for page in self._points.ids(self._target):
            found.update(page)
        return found

    async def _copy_until(self, until: float) -> None:
        """Keep `parallelism` batches in flight. Those that are when the time is over go on meanwhile."""
        while self._pending or self._running:
            if self._clock.monotonic() < until and await self._throttle.clear(until):
                while self._pending and len(self._running) < self._ctx.options.parallelism:
                    self._running.add(asyncio.create_task(self._copy(self._pending.popleft())))
            if not self._running:
                return
            left = None if until == math.inf else max(0.0, until - self._clock.monotonic())
            done, self._running = await asyncio.wait(
                self._running, timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                return
            self._measure()
            for outcome in await asyncio.gather(*done, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome

    async def _copy(self, batch: dict[RawId, int]) -> None:
        try:
            there = await self._there(batch) if self._dual else set()
            found = await self._points.fetch(self._source, [point for point in batch if point not in there])
            if self._field:
                self._memory.watermark.see((p.id, wire.payload_value(p.payload, self._field)) for p in found)
            points = await self._transform(found)
            if points:
                if self._announce:
                    await self._announce(batch)
                await self._points.upsert(self._target, points, only="insert" if self._dual else None)
        except BaseException:
            self._pending.appendleft(batch)
            raise
        ledger, read = self._memory.the_ledger, wire.as_read(found, batch)
        ledger.record({point: batch[point] for point in there} | {p.id: read[p.id] for p in points})
        self._touched.record(batch)
        self.copied += len(points)
        if not self._writes.passes:
            self._progress.done += len(batch)

    async def _delete_gone(self) -> None:
        size = 1000
        while self._gone:
            batch = self._gone[:size]
            left = [*await self._there(batch)] if self._dual else batch
            if left:
                await self._points.delete(self._target, left)
            self._memory.the_ledger.forget(batch)
            self._touched.record(batch)
            del self._gone[:size]
            self.deleted += len(left)

    async def _there(self, points: Iterable[RawId]) -> set[RawId]:
        """Which of them green has now."""
        found = await self._points.fetch(self._target, list(points), vectors=False, payload=False)
        return {point.id for point in found}

    async def _checkpoint(self, at_most_every: float) -> None:
        """Durable, because every recorded point was applied with `wait=true` before."""
        if self._rolls_back or self._clock.monotonic() - self._memory.checkpoint_at < at_most_every:
            return
        if at_most_every == 0.0 and self._writes.passes and not (self.copied or self.deleted):
            return
        written: list[Mark] = [self._memory.the_ledger.digests.checkpoint()]
        if self._ctx.plan.population is Population.REEMBED:
            written.append(self._changed_texts().stale(self._clock.monotonic()).as_mark(self._source))
        await self._ctx.server.mark(self._target, *written)
        self._memory.checkpoint_at = self._clock.monotonic()

    def _measure(self) -> None:
        """The rate over the last seconds, so that a stall is seen and a burst does not mislead."""
        now = self._clock.monotonic()
        self._done_at.append((now, self.copied))
        while len(self._done_at) > 2 and now - self._done_at[0][0] > RATE_SECONDS:
            self._done_at.popleft()
        since, before = self._done_at[0]
        if now > since:
            self._progress.rate = (self.copied - before) / (now - since)

    def _account(self) -> None:
        memory, writes = self._memory, self._writes
        if writes.passes:
            writes.caught_up += self.copied
        writes.copied += self.copied
        writes.deleted += self.deleted
        writes.passes += 1
        memory.watermark.complete(self._highest)
        memory.pass_seconds = self._clock.monotonic() - self._since
        memory.pass_changes = self.copied + self.deleted
        self._progress.throttled = None


def _part(ctx: Context) -> Since | None:
    """Where to look; `None`, at all points, as long as that is not known, or where a promise is checked."""
    memory, name = ctx.session.part(CopyMemory), ctx.options.change_field
    ledger, floor = memory.ledger, memory.watermark.floor
    if ledger is None or floor is None or name is None or ctx.writes is WriteMode.FROZEN:
        return None
    return Since(ledger, at_least(name, floor))


@dataclass
class RunningPass(Part, survives_plan=False):
    """The pass that is under way between two steps."""

    current: Pass | None = None

    def stop(self) -> None:
        if self.current is not None:
            self.current.cancel()
            self.current = None


def is_under_way(ctx: Context) -> bool:
    """Whether a pass has begun and is not complete."""
    return ctx.session.part(RunningPass).current is not None


async def advance(
    ctx: Context, until: float = math.inf, *, by_field: bool = False, announce: Announce | None = None
) -> bool:
    """Go on with the pass that is under way, or begin one; true when it is complete.

    `by_field`: it may be one that looks only at what the change field leads to. If it may not, such a one that is
    under way is given up; what it has not done is found again. `announce` is for a target that others write, too.
    """
    running = ctx.session.part(RunningPass)
    current = running.current
    if current is not None and current.by_field and not by_field:
        current.cancel()
        current = None
    if current is None:
        source = ctx.the_source().name
        current = running.current = Pass(ctx, source, ctx.subject, by_field=by_field, announce=announce)
    try:
        complete: bool = await current.advance(until)
    except BaseException:
        # A scan that broke off shows a part of blue; taken for all of it, the rest would be deleted from green.
        if not current.scanned:
            running.current = None
        raise
    if complete:
        running.current = None
    return complete
