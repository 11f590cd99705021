"""Retiring: when its retention has ended, and not before, a retained collection is deleted; a snapshot stays.

An adopted collection is released instead, unless the spec says that it may be deleted: Teal did not create it.

Both conditions are checked right before the deletion: the deadline has passed by Qdrant's clock too, and no alias
points at the collection on any peer. (A peer that lags behind still sends its clients to it.)

Its own alias goes first. Then it is closed (`cutover/closing.py`): under a fence a last round carries over what
was written to it alone, snapshots are taken, and it is deleted. So no write goes with it, and the snapshots hold
the last ones. If the round leaves something over, or the snapshots fail, it is kept and the fence is lifted.
"""

from __future__ import annotations

from contextlib import suppress

from teal.domain.errors import TransientError, UnknownOutcomeError
from teal.domain.marks import Snapshots, StoredSnapshot
from teal.domain.observed import CollectionState
from teal.domain.policy.due_rounds import live_pairs
from teal.domain.schema import version_alias
from teal.migration.context import RETIRED, Context, Result
from teal.migration.contract import Note
from teal.migration.copying.transform import ChangedTexts
from teal.migration.cutover.closing import closed
from teal.migration.steps.clock_skew import seconds_behind
from teal.migration.steps.partners import forget_gone
from teal.migration.steps.release import is_adopted, release
from teal.migration.sync.memory import PairMemories
from teal.qdrant import snapshots, wire
from teal.qdrant.removal import Removal

BLOCKED_SECONDS = 300.0
REFUSED_SECONDS = 60.0
"""After that time a limit on writes has a token again."""
SHOWN = 10
ATTEMPTS = 3


async def run(ctx: Context) -> Result:
    """Snapshot and delete `subject`, whose retention has ended; or release it."""
    name, blue = ctx.subject, ctx.the_subject()
    await _refuse_early(ctx, name)
    if is_adopted(blue) and not ctx.options.delete_adopted:
        return await _release(ctx, blue)
    _refuse_uncarried(ctx, name)
    removal, newer = _removal(ctx, blue), _in_step_with(ctx, name)
    await removal.remove_aliases(ctx.server)
    async with closed(ctx, blue, newer) as closing:
        await closing.carry_last()
        _refuse_uncarried(ctx, name)
        taken = await _snapshots(ctx, blue)
        await closing.carry_rest()
        _refuse_uncarried(ctx, name)
        await _delete(ctx, removal)
    await forget_gone(ctx, name)
    ctx.session.part(ChangedTexts).forget(name)
    message = f"{name} ({blue.points:,} points, revision {blue.revision}) was deleted after its retention"
    unheld = f" Writes to it were not held back before the deletion: {closing.unheld}" if closing.unheld else ""
    return Result(
        notes=(Note("CollectionRetired", f"{message}{snapshots.said(taken)}.{unheld}", "Retire"),), outcome=RETIRED
    )


def _in_step_with(ctx: Context, name: str) -> CollectionState | None:
    """The newer collection that it is kept in step with."""
    return next((newer for newer, retained in live_pairs(ctx.view) if retained.name == name), None)


async def _delete(ctx: Context, removal: Removal) -> None:
    """A request without an answer is repeated while the fence stands: it may still be carried out later."""
    for _ in range(ATTEMPTS - 1):
        with suppress(UnknownOutcomeError):
            await removal.carry_out(ctx.server)
            return
    await removal.carry_out(ctx.server)


async def _release(ctx: Context, blue: CollectionState) -> Result:
    """Its own marks go last: as long as they are there, a crash only repeats this."""
    name, own = blue.name, version_alias(ctx.desired.alias, blue.schema.schema_version)
    if ctx.observed.aliases.get(own) == name:
        await ctx.server.remove_alias(own, expected=name, ours=ctx.mine)
    await forget_gone(ctx, name)
    await release(ctx.server, blue)
    ctx.session.part(ChangedTexts).forget(name)
    message = (
        f"The retention of {name} ({blue.points:,} points) has ended. It was adopted, not created by Teal, so it "
        "is kept: it does not belong to this resource any more. Delete it when nothing needs it; with "
        "spec.retention.deleteAdopted Teal would have done so."
    )
    return Result(notes=(Note("CollectionReleased", message, "Retire"),))


async def _refuse_early(ctx: Context, name: str) -> None:
    behind = await seconds_behind(ctx)
    left = _ended(ctx) - (ctx.clock.now() + behind)
    if behind < 0 < left:
        raise TransientError(
            "ClocksDiffer",
            f"The retention of {name} has ended by Teal's clock. By Qdrant's, which is {-behind:,.0f} s behind, "
            f"{left:,.0f} s are left. It is kept until both agree; correct the clock that is wrong.",
            retry_after=min(left, BLOCKED_SECONDS),
        )


def _refuse_uncarried(ctx: Context, name: str) -> None:
    """What reached it alone and could not be carried over would go with it: look again before it is deleted."""
    for (newer, older), memory in ctx.session.part(PairMemories).pairs.items():
        if older != name:
            continue
        left = memory.uncarried.get(name, {})
        if not memory.seen_all:
            memory.last = 0.0
            raise _unseen(name, newer)
        if memory.kept:
            memory.last = 0.0
            raise _lost(name, newer, memory.kept)
        if memory.unsettled:
            memory.last = 0.0
            raise _unsettled(name, newer, list(memory.unsettled))
        if not left:
            continue
        memory.last = 0.0
        shown = ", ".join(map(wire.id_text, list(left)[:SHOWN]))
        raise TransientError(
            "NotCarried",
            f"The retention of {name} has ended, but it is kept: {len(left):,} points that were written to it "
            f"alone are not on {newer}, because {memory.reason} (ids {shown}). Write them to {newer}, and delete "
            f"them from {name}.",
            retry_after=BLOCKED_SECONDS,
        )


def _unseen(name: str, newer: str) -> TransientError:
    return TransientError(
        "BarrierRefused",
        f"The retention of {name} has ended, but it is kept: a write to it, or to {newer}, may still be under "
        "way. The write by which Teal makes sure that there is none was refused or not answered there. If their "
        "strict mode limits writes, raise the limit.",
        retry_after=REFUSED_SECONDS,
    )


def _lost(name: str, newer: str, count: int) -> TransientError:
    return TransientError(
        "NotSettled",
        f"The retention of {name} has ended, but it is kept: {count:,} of its points have gone from {newer} at "
        f"once, more than half, which looks like an accident. Write them again, or delete them from {name}.",
        retry_after=BLOCKED_SECONDS,
    )


def _unsettled(name: str, newer: str, points: list[wire.RawId]) -> TransientError:
    shown = ", ".join(map(wire.id_text, points[:SHOWN]))
    return TransientError(
        "NotSettled",
        f"The retention of {name} has ended, but it is kept: {len(points):,} points differ from those on {newer}, "
        f"and it is not known which side changed (ids {shown}). Write those to {newer} that are to stay, and "
        f"delete the others from {name}.",
        retry_after=BLOCKED_SECONDS,
    )


def _removal(ctx: Context, blue: CollectionState) -> Removal:
    """Of a retained collection, whose own `<alias>-<schemaVersion>` goes with it."""
    return Removal(
        blue.name,
        own=(version_alias(ctx.desired.alias, blue.schema.schema_version),),
        ours=ctx.mine,
        reason="RetirementBlocked",
        because=f"The retention of {blue.name} has ended, but it is kept.",
        retry_after=BLOCKED_SECONDS,
    )


async def _snapshots(ctx: Context, blue: CollectionState) -> tuple[StoredSnapshot, ...]:
    """The final snapshots. Earlier ones never count, whoever took them: they lack the last writes.

    Those that an attempt of Teal's has noted, and got no further, are deleted, so that attempts do not fill the
    disk. One that died between taking and noting them leaves them: nobody could tell them from somebody else's.
    """
    if not ctx.options.snapshot:
        return ()
    earlier = blue.marks.snapshots
    await snapshots.discard(ctx.server.admin, blue.name, earlier.taken if earlier else ())
    taken = Snapshots(tuple(await snapshots.take_whole(ctx.server.admin, blue.name)))
    await ctx.server.mark(blue.name, taken)
    return taken.taken


def _ended(ctx: Context) -> float:
    """When the retention ends, in seconds since the epoch."""
    replaced, keep_for = ctx.the_subject().marks.replaced, ctx.desired.keep_for
    return replaced.until(keep_for) if replaced else ctx.clock.now() + keep_for
