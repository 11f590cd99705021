"""From one live collection to the other: points are written while the application writes to both.

Compare-and-set, as far as Qdrant allows it: both sides are read again right before a small batch is written, and
what differs from what was seen is left to the next round. (An application that writes to both would else have an
older content brought over its newer one.) A point that was missing is only inserted, one that was
there only updated; so in the milliseconds in between an update of the application may be overwritten, but neither
an insert nor a delete of its is undone, save where the replicas of a shard differ already. What is about to be
written is durable before (`write_ahead`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from teal.domain.writes import WriteMode
from teal.migration.context import Context
from teal.migration.copying.transform import AsManyAsPossible, LeftBehind, Transform
from teal.migration.sync.side import RoundSide
from teal.migration.sync.write_ahead import DELETED, WriteAheadLog
from teal.qdrant import wire
from teal.qdrant.together import all_of, both
from teal.qdrant.wire import RawId, RawPoint

AT_ONCE = 32
"""So few points are looked at and written at once that the moment in between is short."""
OTHER_WRITE_SECONDS = 0.25
"""An application that writes to both sides is given so long to bring its write to the other one, too."""


@dataclass
class Carried:
    """What became of a batch: the digests of what was written, and which points could not be made, and why."""

    written: dict[RawId, int] = field(default_factory=dict)
    deleted: set[RawId] = field(default_factory=set)
    left: set[RawId] = field(default_factory=set)
    because: str | None = None
    again: bool = False
    """Whether the reason may pass, so that it is worth to try again."""


async def carry(
    ctx: Context,
    log: WriteAheadLog,
    sides: tuple[RoundSide, RoundSide],
    points: Sequence[RawPoint],
    gone: Sequence[RawId],
    seen: Mapping[RawId, int],
    make: Transform | None,
) -> Carried:
    """Write `points` of the first side to the second one as `make` makes them, and delete `gone` there.

    `seen`: the digests of what was seen there of all these points; those that are missing were not there.
    """
    target, done, told = sides[1], Carried(), LeftBehind()
    made: Sequence[RawPoint] = ()
    if make is None:
        done.because = f"the encoder of {target.name} cannot be asked" if points else None
    else:
        made = await AsManyAsPossible(told, make)(points)
    done.left = {point.id for point in points} - {point.id for point in made}
    if done.left:
        done.again = (done.because or told.because) is not None
        done.because = done.because or told.because or "some points have no text to embed"
    digests = {point.id: wire.content_digest(point) for point in made}
    if not digests and not gone:
        return done
    await log.tell(ctx, target.name, {**digests, **dict.fromkeys(gone, DELETED)})
    read = {point.id: wire.content_digest(point) for point in points}
    if ctx.writes is WriteMode.DUAL_WRITE:
        await ctx.clock.sleep(OTHER_WRITE_SECONDS)
    unmoved: set[RawId] = set()
    every: list[RawPoint | RawId] = [*made, *gone]
    for start in range(0, len(every), AT_ONCE):
        some = every[start : start + AT_ONCE]
        unmoved |= await _compare_and_set(ctx, sides, some, read, seen, digests)
    done.written = {point: digest for point, digest in digests.items() if point in unmoved}
    done.deleted = {point for point in gone if point in unmoved}
    return done


async def _compare_and_set(
    ctx: Context,
    sides: tuple[RoundSide, RoundSide],
    some: Sequence[RawPoint | RawId],
    read: Mapping[RawId, int],
    seen: Mapping[RawId, int],
    digests: Mapping[RawId, int],
) -> set[RawId]:
    """Write those points of `some`, and delete the ids among them, that neither side has changed; which they are.

    `read` and `seen` are the digests of both sides when it was decided, `digests` those of what is written.
    """
    source, target = sides
    points = {each.id: each for each in some if not isinstance(each, bytes)}
    gone = [each for each in some if isinstance(each, bytes)]
    ids = [*points, *gone]
    still, now = await both(source.digests(ids), target.digests(ids))
    unmoved = {p for p in ids if now.get(p) == seen.get(p) and still.get(p) == read.get(p)}
    fresh = [points[p] for p in points if p in unmoved and p not in now]
    older = [points[p] for p in points if p in unmoved and p in now]
    there = [p for p in gone if p in unmoved and p in now]
    await all_of(
        [
            ctx.server.points.upsert(target.name, fresh, only="insert"),
            ctx.server.points.upsert(target.name, older, only="update"),
            ctx.server.points.delete(target.name, there),
        ]
    )
    if target.replicated:
        await _on_all_replicas(ctx, target, [*fresh, *older], digests)
    return unmoved


async def _on_all_replicas(
    ctx: Context, target: RoundSide, written: Sequence[RawPoint], digests: Mapping[RawId, int]
) -> None:
    """Write once more, without a mode, what not all replicas of its shard have taken.

    A write that a fence has refused may have changed one replica and not the other: each limits writes by itself.
    And each judges the mode of an upsert by what it has itself, so an insert or an update then reaches only some.
    What the pinned replica does not hold as it was written has been changed by the application since.
    """
    if not written:
        return
    agreed = await target.agreed([point.id for point in written])
    apart = [point for point in written if agreed.get(point.id) != digests[point.id]]
    if not apart:
        return
    now = await target.digests([point.id for point in apart])
    again = [point for point in apart if now.get(point.id) == digests[point.id]]
    await ctx.server.points.upsert(target.name, again)
