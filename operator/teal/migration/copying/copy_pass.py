"""One pass of catching up; populating green is the first of them.

A pass goes over blue range by range, beside the ledgers of what green holds: points whose version is not the noted
one are read, and copied if their content is another one; what blue no longer has is deleted from green. The order
carries the guarantee: a version is noted *before* the content is read, so a point that changes in between is
copied now and seen as changed by the next pass.

A version is worth something only within one epoch (`domain.epoch`). The epoch is read before the first version and
again after the last content. If it has ended in between, or if another replica has answered, no version of the
pass can be compared later, and the next pass reads contents.

A pass works in slices of time: `advance` returns when its time is over and goes on where it stopped, so that an
edit, a shutdown or a status write never waits for a large collection.

With `DualWrite` the application writes green too, so a pass only fills in what green has never had, and never
overwrites (`insert_only`). What it fills in can have been deleted on both sides since it was read, and the next
pass sees that; so only a pass that had nothing to write leaves green as the application wants it.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from teal.domain import keys as k
from teal.domain.buckets import Buckets, buckets_for
from teal.domain.change_field import Watermark
from teal.domain.columns import CONTENT, EMPTY, NO_DIGEST, UNKNOWN, Columns, Versions, aligned, pieces
from teal.domain.epoch import Scan, comparable
from teal.domain.errors import HeldError, TransientError
from teal.domain.ledger import difference, unmoved
from teal.domain.marks import Checkpoint, Frozen, Mark
from teal.domain.plan import Population
from teal.domain.point_state import out_of_order
from teal.domain.stale import RecentTextChanges
from teal.domain.writes import WriteMode
from teal.migration.context import Context
from teal.migration.copying.circumstances import NOTHING, barriers_on, circumstances
from teal.migration.copying.ledgers import Cursor, Ledgers, Range
from teal.migration.copying.memory import CopyMemory, Progress, Writes
from teal.migration.copying.scan import PartScan
from teal.migration.copying.scratch import ScratchLostError
from teal.migration.copying.seeding import Seeding
from teal.migration.copying.side_ledger import by_version
from teal.migration.copying.throttle import Throttle
from teal.migration.copying.transform import ChangedTexts, Transform, stale_between, transform_for
from teal.migration.session import Part
from teal.qdrant import raw_keys, wire
from teal.qdrant.barrier import Barriers
from teal.qdrant.points import at_least
from teal.qdrant.wire import RawId, RawPoint

CHECKPOINT_SECONDS = 3.0
RATE_SECONDS = 10.0
DELETE_IDS = 1000
SAMPLES = 10


class Pass:
    """Takes green to blue's state at the versions that one scan sees."""

    def __init__(self, ctx: Context, ledgers: Ledgers, barriers: Barriers, *, where: bytes | None = None) -> None:
        """`where`, a serialized `Filter`: look only at these points, for changes and not for what is gone."""
        self._ctx, self._ledgers, self._barriers, self._where = ctx, ledgers, barriers, where
        self._clock = ctx.clock
        self._source, self._target = ctx.the_source(), ctx.the_subject()
        self._reads, self._points = ctx.server.reads(self._source), ctx.server.points
        self._transform: Transform = transform_for(ctx)
        self._throttle = Throttle(ctx, self._source.name)
        embeds = ctx.plan.population is Population.REEMBED
        self._batch = ctx.options.embedding_batch if embeds else ctx.options.batch
        self._dual = ctx.writes is WriteMode.DUAL_WRITE
        self._field = ctx.options.change_field
        self._memory, self._progress = ctx.session.part(CopyMemory), ctx.session.part(Progress)
        self._writes = ctx.session.part(Writes)
        self._highest = self._memory.watermark.highest
        self._scan = PartScan(ctx.server, self._source, ledgers.total, where)
        self._cursor = Cursor(ledgers)
        self._range: Range | None = None
        self._pending: deque[Columns] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._begun_in: Scan | None = None
        self._same_replicas = True
        self._relied = False
        self._exact = True
        self._fingerprint = Buckets(1)
        self._changed: list[RawId] = []
        self._finished: list[int] = []
        self._seen = 0
        self._since = self._clock.monotonic()
        self._done_at: deque[tuple[float, int]] = deque([(self._since, 0)])
        self.copied = 0
        self.deleted = 0

    @property
    def partial(self) -> bool:
        """Whether it looks at some points only."""
        return self._where is not None

    async def advance(self, until: float = math.inf) -> bool:
        """Go on until the monotonic time `until`; true when the pass is complete and checkpointed.

        Raises:
            TransientError: try again; nothing that was done is lost.
            HeldError: a point cannot be carried over.
        """
        if self._begun_in is None:
            self._begun_in = await circumstances(self._ctx, self._source, self._barriers)
        while (current := self._range or await self._next()) is not None:
            self._range = current
            await self._copy_until(until)
            if self._pending or self._running:
                await self._checkpoint(CHECKPOINT_SECONDS)
                return False
            await self._delete_gone(current)
            await self._close(current)
            if self._clock.monotonic() >= until:
                await self._checkpoint(CHECKPOINT_SECONDS)
                return False
        await self._confirm()
        await self._hold_to_promise()
        await self._checkpoint(0.0)
        self._account()
        return True

    def cancel(self) -> None:
        """Stop copying; what was not finished is found again by the next pass."""
        self._scan.stop()
        for task in self._running:
            task.cancel()
        self._ledgers.give_up(self._range)

    # One range

    async def _next(self) -> Range | None:
        """The next range, with what has to be done in it."""
        seen = await self._scan.next()
        if seen is None:
            return None
        current = self._cursor.open(seen)
        part = seen.slice.index
        floors = comparable(self._ledgers.source.scans[part], self._begun_in) if self._begun_in else None
        if floors is not None:
            strangers = (
                out_of_order(known, now, floors) for known, now in aligned(current.source, pieces(seen.points))
            )
            if any(each.any() for each in strangers):
                self._same_replicas, floors = False, None
        self._relied = self._relied or floors is not None
        restored = self._restored(current) if floors is None else None
        for known, now in aligned(current.source, pieces(seen.points)):
            self._plan(current, known, now, same_epoch=floors is not None, restored=restored)
            await asyncio.sleep(0)
        if self._writes.passes and self._pending:
            self._changed = [*self._changed, *raw_keys.raw_ids(self._pending[0].keys)][:SAMPLES]
        self._seen += len(seen.points)
        if not self._writes.passes:
            self._progress.total = max(self._progress.total, self._source.points, self._seen)
            self._progress.done += len(seen.points) - sum(map(len, self._pending))
        return current

    def _plan(
        self, current: Range, known: Columns, now: Columns, *, same_epoch: bool, restored: Columns | None
    ) -> None:
        """What has to be done about one piece."""
        if self._ctx.writes is WriteMode.FROZEN:
            self._fingerprint.add(by_version(now))
        todo = difference(known, now, comparable=same_epoch)
        read = todo.read
        if restored is not None:
            proven = k.locate(read.keys, restored.keys)[1] & k.locate(read.keys, known.keys)[1]
            current.note(read.take(proven))
            read = read.take(~proven)
        if self._dual:
            # What is on green already, or was and has been deleted there, is the application's own affair.
            theirs = k.locate(read.keys, known.keys)[1]
            current.note(_unread(read.take(theirs)))
            read = read.take(~theirs)
        for start in range(0, len(read), self._batch):
            self._pending.append(read.take(slice(start, start + self._batch)))
        if not self.partial and len(todo.gone):
            current.gone.append(todo.gone)

    def _restored(self, current: Range) -> Columns | None:
        """Of the points that were seen, those that the checkpoint of an earlier process proves to be on green."""
        mark, begun_in = self._memory.checkpoint, self._begun_in
        if mark is None or begun_in is None or begun_in.epoch is None or self._ledgers.total == 0:
            return None
        if not begun_in.epoch.is_noted_as(mark.epoch):
            return None
        try:
            then = Buckets.from_json(mark.sums)
        except ValueError:
            return None
        if len(then) % self._ledgers.total or current.seen.upto is not None:
            return None
        points = current.seen.points
        now = Buckets(len(then))
        now.add(by_version(points))
        proven = then.compared(now).same_contents[then.of(points.keys)] & (points.versions != UNKNOWN)
        return points.take(proven)

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

    async def _copy(self, batch: Columns) -> None:
        """Read these points, and write those that green was not given with the same content."""
        current = self._range
        if current is None:
            raise LookupError("no range is open")
        try:
            ids = raw_keys.raw_ids(batch.keys)
            there = await self._there(ids) if self._dual else set()
            found = await self._reads.fetch(self._source.name, [point for point in ids if point not in there])
            digests = {point.id: wire.content_digest(point) for point in found}
            read = replace(
                batch,
                versions=_as_read(batch, ids, found),
                digests=np.array([digests.get(point, NO_DIGEST) for point in ids], np.uint64),
            )
            if self._field:
                self._memory.watermark.see((p.id, wire.payload_value(p.payload, self._field)) for p in found)
            given = {ids[row] for row in np.flatnonzero(unmoved(batch, read.digests))}
            before = dict(zip(ids, self._ledgers.copied_before(read).tolist(), strict=True))
            todo = [point for point in found if point.id not in given and before[point.id] == NO_DIGEST]
            points = await self._transform(todo)
            if points:
                await self._points.upsert(self._target.name, points, only="insert" if self._dual else None)
        except BaseException:
            self._pending.appendleft(batch)
            raise
        written = {point: digest for point, digest in before.items() if digest != NO_DIGEST and point not in given}
        written |= {point.id: wire.content_digest(point) for point in points}
        fresh = np.fromiter((point in written or point in there for point in ids), np.bool_, len(ids))
        given_digests = np.array([written.get(point, NO_DIGEST) for point in ids], np.uint64)
        current.note(read.take(fresh), given_digests[fresh])
        current.note_read(read.take(np.fromiter((point in given for point in ids), np.bool_, len(ids))))
        self.copied += len(points)
        if not self._writes.passes:
            self._progress.done += len(batch)

    async def _close(self, current: Range) -> None:
        """Delete what is gone, and note the range."""
        await self._delete_gone(current)
        await self._cursor.close(current)
        self._range = None
        if current.seen.upto is None:
            part = current.seen.slice.index
            self._finished.append(part)
            if not self.partial:
                self._ledgers.source.scans[part] = None

    async def _delete_gone(self, current: Range) -> None:
        while current.gone:
            keys = current.gone[0]
            for start in range(0, len(keys), DELETE_IDS):
                some = k.take(keys, slice(start, start + DELETE_IDS))
                ids = raw_keys.raw_ids(some)
                left = [*await self._there(ids)] if self._dual else ids
                if left:
                    await self._points.delete(self._target.name, left)
                current.dropped.append(some)
                self.deleted += len(left)
            current.gone.popleft()

    async def _there(self, points: list[RawId]) -> set[RawId]:
        """Which of them green has now."""
        found = await self._points.fetch(self._target.name, points, vectors=False, payload=False)
        return {point.id for point in found}

    # The end of a pass

    async def _confirm(self) -> None:
        """Whether the versions that were noted can be compared later: the epoch is read again."""
        self._ledgers.given_up = (EMPTY, EMPTY)
        now = await circumstances(self._ctx, self._source, self._barriers)
        before = self._begun_in or NOTHING
        scan = Scan.between(before.epoch, before.floors, now.epoch)
        self._exact = self._same_replicas and scan.epoch is not None
        for part in self._finished:
            if not self._exact:
                self._ledgers.source.scans[part] = None
            elif not self.partial:
                self._ledgers.source.scans[part] = scan

    async def _hold_to_promise(self) -> None:
        """Frozen: what the first scan saw is what every later one must see, in this process or another."""
        if self._ctx.writes is not WriteMode.FROZEN or self.partial:
            return
        epoch = self._begun_in.epoch if self._begun_in else None
        now = Frozen(f"{self._seen}:{int(self._fingerprint.contents[0]):016x}", epoch.noted() if epoch else "")
        promised = self._memory.frozen or self._ctx.the_subject().marks.frozen
        same_epoch = promised is not None and promised.epoch == now.epoch
        # In another epoch all contents were compared, if an earlier pass of this process has noted them.
        changed = same_epoch or (self._writes.passes and (self.copied or self.deleted))
        if promised is not None and promised.fingerprint != now.fingerprint and changed:
            raise HeldError(
                "WroteWhileFrozen",
                f"spec.migration.writes is Frozen, but {self._source.name} was written to during the migration. "
                "Pause its writers and retry, or use CatchUp.",
                tuple(wire.id_text(point) for point in self._changed),
            )
        if promised != now:
            await self._ctx.server.mark(self._target.name, now)
            self._memory.frozen = now

    async def _checkpoint(self, at_most_every: float) -> None:
        """Durable, because every recorded point was applied with `wait=true` before."""
        if self._clock.monotonic() - self._memory.checkpoint_at < at_most_every:
            return
        if at_most_every == 0.0 and self._writes.passes and not (self.copied or self.deleted):
            return
        written: list[Mark] = []
        if self._begun_in is not None and self._begun_in.epoch is not None and self._same_replicas:
            epoch = self._begun_in.epoch.noted(own=self._own_decisions() + 1)
            written.append(Checkpoint(epoch, self._ledgers.source.versions.as_json()))
        if self._ctx.plan.population is Population.REEMBED:
            written.append(self._changed_texts().stale(self._clock.monotonic()).as_mark(self._source.name))
        await self._ctx.server.mark(self._target.name, *written)
        self._memory.checkpoint_at = self._clock.monotonic()

    def _own_decisions(self) -> int:
        """How many operations of the cluster's consensus Teal has caused since the pass began."""
        epoch = self._begun_in.epoch if self._begun_in else None
        if epoch is None or epoch.commit is None:
            return 0
        return self._ctx.server.admin.decisions - epoch.own_commits

    def _changed_texts(self) -> RecentTextChanges:
        return self._ctx.session.part(ChangedTexts).of(self._source.name)

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
        memory.pass_by_field = self._field if self.partial else None
        memory.pass_exact = self._exact or not self._relied
        self._progress.throttled = None


def _unread(points: Columns) -> Columns:
    """The same without the digests of earlier contents: these versions belong to contents that nobody has read."""
    return replace(points, digests=np.full(len(points), NO_DIGEST, np.uint64))


def _as_read(batch: Columns, ids: Sequence[RawId], found: Sequence[RawPoint]) -> Versions:
    """The versions of a batch whose contents were read after them.

    A content could change in between and change back again, and would then look unchanged. So where the version is
    a digest of the content, it is that of the content that was read.
    """
    if not (batch.versions >= CONTENT).any():
        return batch.versions
    contents = {point.id: wire.content_version(point) for point in found}
    return np.array([contents.get(point, UNKNOWN) for point in ids], np.int64)


@dataclass
class RunningPass(Part, survives_plan=False):
    """The pass that is under way between two steps."""

    current: Pass | None = None
    seeding: Seeding | None = None
    whole: bool = False
    """The next pass has to look at all points."""

    def stop(self) -> None:
        if self.current is not None:
            self.current.cancel()
            self.current = None
        if self.seeding is not None:
            self.seeding.stop()
            self.seeding = None


def is_under_way(ctx: Context) -> bool:
    """Whether a pass has begun and is not complete."""
    return ctx.session.part(RunningPass).current is not None


async def advance(ctx: Context, until: float = math.inf, *, by_field: bool = False) -> bool:
    """Go on with the pass that is under way, or begin one; true when it is complete.

    `by_field`: it may be one that looks only at what the change field leads to. If it may not, such a one that is
    under way is given up; what it has not done is found again. If it shows that points were deleted, it is not
    complete before another one has looked at all points.
    """
    running, memory = ctx.session.part(RunningPass), ctx.session.part(CopyMemory)
    by_field = by_field and not running.whole
    if running.current is not None and running.current.partial and not by_field:
        running.stop()
    try:
        ledgers = memory.ledgers or await _begun(ctx, memory)
        if not await _seeded(ctx, running, ledgers, until):
            return False
        if running.current is None:
            barriers = await barriers_on(ctx, ctx.the_source())
            running.current = Pass(ctx, ledgers, barriers, where=_where(ctx) if by_field else None)
        if not await running.current.advance(until):
            return False
    except ScratchLostError:
        running.stop()
        memory.lose()
        raise
    partial, running.current = running.current.partial, None
    # A deletion raises no field: it shows in the number of points alone.
    running.whole = partial and await _deletions_missed(ctx, ledgers)
    if running.whole and until == math.inf:
        return await advance(ctx, until)
    return not running.whole


def may_trust_field(ctx: Context) -> bool:
    """Whether the last pass may be one that looks only at what the change field leads to.

    Points that have no value in it contradict those who say that every write raises it.
    """
    return ctx.trusted_field is not None and not ctx.session.part(CopyMemory).watermark.incomplete


async def _begun(ctx: Context, memory: CopyMemory) -> Ledgers:
    """Ledgers about which nothing is known, once all that an earlier process has sent has been applied.

    Raises:
        TransientError: reason `BarrierRefused`: a point may still arrive that would have no row.
    """
    source, target = ctx.the_source(), ctx.the_subject()
    if not await (await barriers_on(ctx, target)).barrier():
        raise TransientError(
            "BarrierRefused",
            f"A write to {target.name} may still be under way: the write by which Teal makes sure that there is "
            "none was refused or not answered. It is tried again. If strict mode limits writes there, raise the "
            "limit.",
        )
    feed = await ctx.server.feed(source)
    memory.checkpoint = target.marks.checkpoint
    now = ctx.clock.monotonic()
    ctx.session.part(ChangedTexts).of(source.name).recall(stale_between(target, source.name), now)
    if memory.watermark.name != ctx.options.change_field:
        memory.watermark = Watermark(ctx.options.change_field)
    memory.ledgers = Ledgers.new(await feed.slices(), buckets_for(max(source.points, target.points)))
    return memory.ledgers


async def _seeded(ctx: Context, running: RunningPass, ledgers: Ledgers, until: float) -> bool:
    """All that the target holds has a row: what the source loses before it is read must be known to be there."""
    if ledgers.seeded:
        return True
    if running.seeding is None:
        running.seeding = Seeding(ctx, ledgers)
    if await running.seeding.advance(until):
        running.seeding, ledgers.seeded = None, True
    return ledgers.seeded


def _where(ctx: Context) -> bytes | None:
    """Where to look; `None`, at all points, as long as that is not known, or where a promise is checked."""
    memory, name = ctx.session.part(CopyMemory), ctx.options.change_field
    floor = memory.watermark.floor
    if floor is None or name is None or ctx.writes is WriteMode.FROZEN:
        return None
    return at_least(name, floor)


async def _deletions_missed(ctx: Context, ledgers: Ledgers) -> bool:
    source = ctx.the_source()
    return await ctx.server.reads(source).count(source.name) < len(ledgers.source)
