"""How a cut-over catches up: with a promotion by passes, with a rollback by rounds in one direction.

Both leave ledgers of both sides, which the rounds go on from after the alias has moved (`drain`), and the same
durable notes, from which another process would.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from teal.domain import keys as k
from teal.domain.columns import UNKNOWN, Columns, aligned, pieces
from teal.domain.epoch import Floors, Scan, comparable
from teal.domain.in_step import Move
from teal.domain.marks import InStep, Mark, Stale
from teal.domain.observed import CollectionState
from teal.domain.plan import same_encoder
from teal.domain.writes import WriteMode
from teal.migration.context import Context
from teal.migration.copying import copy_pass
from teal.migration.copying.circumstances import barriers_on, circumstances
from teal.migration.copying.ledgers import Ledgers
from teal.migration.copying.memory import CopyMemory
from teal.migration.copying.scan import PartScan
from teal.migration.copying.side_ledger import Change, SideLedger
from teal.migration.copying.transform import ChangedTexts, stale_between
from teal.migration.sync.memory import PairMemories, PairMemory
from teal.migration.sync.notes import ALL_IN_STEP, OpenPoints, side_note
from teal.migration.sync.pairs import Pair
from teal.migration.sync.rounds import bring_to_retained, keep
from teal.sources.embedder import Embedder


@dataclass(frozen=True)
class Late:
    """What reached the old side too late: how many points were copied, and how many had changed on both sides."""

    carried: int = 0
    conflicts: int = 0
    samples: tuple[str, ...] = ()


class Promotion:
    """From blue, which serves, to green, which Teal alone has written."""

    def __init__(self, ctx: Context, old: CollectionState, new: CollectionState) -> None:
        self._ctx, self._old, self._new = ctx, old, new
        self._memory = ctx.session.part(CopyMemory)

    @property
    def under_way(self) -> bool:
        """Whether a pass has begun and is not complete."""
        return copy_pass.is_under_way(self._ctx)

    @property
    def changes(self) -> int:
        """How many points the last pass had to write."""
        return self._memory.pass_changes

    @property
    def exact(self) -> bool:
        """Whether all that the last pass took for unchanged is unchanged."""
        return self._memory.pass_exact

    @property
    def seconds(self) -> float:
        """How long the last pass took."""
        return self._memory.pass_seconds

    @property
    def by_field(self) -> str | None:
        """The change field, if the last pass looked only at what it leads to."""
        return self._memory.pass_by_field

    async def advance(self, until: float = math.inf) -> bool:
        """Go on with a pass, or begin one; true when it is complete."""
        return await copy_pass.advance(self._ctx, until, by_field=copy_pass.may_trust_field(self._ctx))

    async def know_new_side(self, until: float = math.inf) -> bool:
        """The versions of green as Teal left it, so that the application's writes to it are recognised later."""
        if self._memory.ledgers is None and not await self.advance(until):
            return False
        ledgers = self._memory.the_ledgers
        if all(ledgers.target.scans):
            return True
        return await _read_versions(self._ctx, self._new, ledgers.target)

    async def notes(self) -> Sequence[Mark]:
        """What both sides hold, right before the alias moves.

        Only Teal has written the new one, unless the application writes to both: then its versions are read again.
        """
        ledgers = self._memory.the_ledgers
        if self._ctx.writes is WriteMode.DUAL_WRITE:
            await _read_versions(self._ctx, self._new, ledgers.target)
            # The application's own points on green may have no row, which is no sign of another replica.
            scans = ledgers.target.scans
            scans[:] = [scan and replace(scan, floors=Floors(UNKNOWN, scan.floors.high)) for scan in scans]
            return _noted(self._ctx, self._old, self._new, ledgers, scans, ledgers.source.scans)
        now = await circumstances(self._ctx, self._new, await barriers_on(self._ctx, self._new))
        for part, scan in enumerate(ledgers.target.scans):
            ledgers.target.scans[part] = now if comparable(scan, now) is not None else None
        return _noted(self._ctx, self._old, self._new, ledgers, [now] * ledgers.total, ledgers.source.scans)

    async def hand_over(self) -> Late:
        """Both sides are kept in step from now on; nothing came late."""
        self._pair_memory()
        return Late()

    async def _both_written(self) -> None:
        """What the application has written to both sides until now stands in no row, and is no change either."""
        ledgers = self._memory.ledgers
        if self._ctx.writes is not WriteMode.DUAL_WRITE or ledgers is None:
            return
        now = await circumstances(self._ctx, self._old, await barriers_on(self._ctx, self._old))
        for ledger in (ledgers.source, ledgers.target):
            ledger.incomplete.update(range(ledgers.total))
        for part, scan in enumerate(ledgers.source.scans):
            until = Scan(Floors(UNKNOWN, now.floors.high), now.epoch)
            ledgers.source.scans[part] = until if comparable(scan, now) is not None else None

    async def drain(self) -> Late:
        """Late writes go over; both sides are kept in step from now on."""
        await self._both_written()
        back = await _encoder_of(self._ctx, self._old, self._new)
        pair = Pair(self._new, self._old, back, self._ctx.desired.text_field)
        return await drained(self._ctx, pair, self._pair_memory())

    def _pair_memory(self) -> PairMemory:
        memory = self._ctx.session.part(PairMemories).of(self._new.name, self._old.name)
        if self._memory.ledgers is not None:
            memory.take_over(self._memory.ledgers)
            self._memory.ledgers = None
        return memory


class Rollback:
    """From the collection that serves to a retained one, which the application may have written, too."""

    def __init__(self, ctx: Context, old: CollectionState, new: CollectionState) -> None:
        self._ctx, self._old, self._new = ctx, old, new
        self._pair = Pair(old, new, ctx.embedder, ctx.desired.text_field)
        self._memory = ctx.session.part(PairMemories).of(old.name, new.name)

    @property
    def changes(self) -> int:
        """How many points the last round had to write."""
        return self._memory.moved

    @property
    def exact(self) -> bool:
        """Whether all that the last round took for unchanged is unchanged."""
        return self._memory.exact

    @property
    def seconds(self) -> float:
        """How long the last round took."""
        return self._memory.took

    @property
    def by_field(self) -> None:
        """A round goes by no field."""
        return None

    @property
    def under_way(self) -> bool:
        """Whether a round has begun and is not complete."""
        return self._memory.round is not None and self._memory.round.only is Move.TO_RETAINED

    async def advance(self, until: float = math.inf) -> bool:
        """Go on with a round to the retained side, or begin one; true when it is complete."""
        found = await bring_to_retained(self._ctx, self._pair, self._memory, until)
        if found is not None:
            self._memory.moved, self._memory.took, self._memory.exact = found.moved, found.took, found.exact
        return found is not None

    async def know_new_side(self, until: float = math.inf) -> bool:
        """The rounds have read its versions."""
        del until
        return True

    async def notes(self) -> Sequence[Mark]:
        """What both sides held when the last round left nothing over, with the sides exchanged."""
        ledgers, covered = self._memory.the_ledgers, self._memory.covered
        both = [covered.get(part) for part in range(ledgers.total)]
        exchanged = Ledgers(ledgers.target, ledgers.source, ledgers.seeded)
        new_scans = [scans[1] if scans else None for scans in both]
        old_scans = [scans[0] if scans else None for scans in both]
        left = self._memory.open.exchanged()
        return _noted(self._ctx, self._old, self._new, exchanged, new_scans, old_scans, left)

    async def hand_over(self) -> Late:
        """Both sides are kept in step from now on; nothing came late."""
        self._exchanged()
        return Late()

    async def drain(self) -> Late:
        """Late writes go over; both sides are kept in step from now on."""
        there = await _encoder_of(self._ctx, self._old, self._new)
        pair = Pair(self._new, self._old, there, self._ctx.desired.text_field)
        return await drained(self._ctx, pair, self._exchanged())

    def _exchanged(self) -> PairMemory:
        pairs = self._ctx.session.part(PairMemories)
        memory = pairs.of(self._new.name, self._old.name)
        before, self._memory.ledgers = self._memory.ledgers, None
        if before is not None:
            memory.take_over(Ledgers(before.target, before.source, before.seeded))
            memory.covered = {part: (scans[1], scans[0]) for part, scans in self._memory.covered.items()}
            memory.unsettled = dict(self._memory.open.exchanged().unsettled)
            memory.uncarried = dict(self._memory.uncarried)
            memory.log = self._memory.log.exchanged()
        return memory


CatchUp = Promotion | Rollback


async def drained(ctx: Context, pair: Pair, memory: PairMemory) -> Late:
    """One round now: what reached the old side too late goes to the new one, and the other way round."""
    carried, conflicts, samples = memory.to_serving, memory.conflicts, len(memory.samples)
    memory.due = ctx.clock.monotonic()
    await keep(ctx, pair, memory)
    return Late(memory.to_serving - carried, memory.conflicts - conflicts, tuple(memory.samples[samples:]))


async def _encoder_of(ctx: Context, old: CollectionState, new: CollectionState) -> Embedder | None:
    """The encoder of the old side, where its vectors cannot be copied."""
    return None if same_encoder(old, new) else await ctx.encoders.of(old)


def _noted(
    ctx: Context,
    old: CollectionState,
    new: CollectionState,
    ledgers: Ledgers,
    new_scans: Sequence[Scan | None],
    old_scans: Sequence[Scan | None],
    left: OpenPoints = ALL_IN_STEP,
) -> Sequence[Mark]:
    here = side_note(ctx, new, ledgers.target, new_scans, 1)
    there = side_note(ctx, old, ledgers.source, old_scans, 1)
    note = InStep(old.name, here, there, ctx.clock.now(), **left.written())
    return note, *stale_since(ctx, old, new)


def stale_since(ctx: Context, old: CollectionState, new: CollectionState) -> tuple[Stale, ...]:
    """The mark that says whose vector on `old` may be older than its text; none where vectors are copied."""
    if same_encoder(old, new):
        return ()
    lately = ctx.session.part(ChangedTexts).of(old.name)
    known = stale_between(new, old.name) | lately.stale(ctx.clock.monotonic())
    return (known.as_mark(old.name),)


async def _read_versions(ctx: Context, state: CollectionState, ledger: SideLedger) -> bool:
    """Give the rows of one side the versions that its points have now."""
    barriers = await barriers_on(ctx, state)
    begun = await circumstances(ctx, state, barriers)
    scan = PartScan(ctx.server, state, ledger.total)
    while (seen := await scan.next()) is not None:
        rewrite = ledger.rewrite(seen.slice.index)
        for known, now in aligned(rewrite.known(seen.upto), pieces(seen.points)):
            await rewrite.put([known], Change(recorded=_versioned(known, now)))
        if seen.upto is None:
            rewrite.finish()
    ended = await circumstances(ctx, state, barriers)
    ledger.scans[:] = [Scan.between(begun.epoch, begun.floors, ended.epoch)] * ledger.total
    return True


def _versioned(known: Columns, now: Columns) -> Columns:
    """Rows that get another version, with the digest that they have."""
    rows, found = k.locate(now.keys, known.keys)
    mine = now.take(found)
    digests = known.digests[rows[found]]
    other = (known.versions[rows[found]] != mine.versions) & (mine.versions != UNKNOWN)
    return replace(mine, digests=digests).take(other)
