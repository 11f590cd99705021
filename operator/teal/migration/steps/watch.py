"""Watching: for a while after the cut-over, does green serve as well as blue did?

At every interval it probes through the alias and asks the user's Prometheus queries; `domain.watching` judges
them. A breach writes the mark `declined` on blue, which causes the rollback. The seconds watched so far are kept
on green, so a restart continues; time without measurements does not count.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from teal.domain.marks import Declined, Migration, Watched
from teal.domain.policy import retained_source
from teal.domain.transitions import Event
from teal.domain.watching import Look, WatchLimits, is_over, judge
from teal.migration.context import Context, Result
from teal.migration.contract import Note
from teal.migration.probing import prometheus, search
from teal.migration.session import Part
from teal.migration.steps import decline, hooks

WRITE_SECONDS = 30.0
GAP = 2.0
"""Intervals; a longer time between two looks is a gap and does not count."""


@dataclass
class WatchMemory(Part, survives_plan=False):
    """What the next look starts from; `looked` and `written` are monotonic times."""

    watched: Watched = field(default_factory=lambda: Watched(""))
    questions: search.Questions | None = None
    looked: float | None = None
    written: float = float("-inf")
    due: float = float("-inf")
    nothing_left: bool = False


async def run(ctx: Context) -> Result:
    """One look, if it is due; done when `watch.duration` has been watched and the hook has been called."""
    migration = ctx.the_subject().marks.migration
    if migration is None or migration.source is None:
        return Result(Event.WATCHED)
    told, notes = await hooks.after_switch(ctx)
    if not ctx.options.watch.duration:
        return Result(Event.WATCHED, notes) if told else Result(None, notes, hooks.POLL_SECONDS)
    memory = _memory(ctx, migration)
    if ctx.clock.monotonic() >= memory.due:
        breach = await _look(ctx, migration, memory)
        if breach:
            return await _breached(ctx, migration, memory, breach, notes)
    if told and is_over(ctx.options.watch, memory.watched):
        return await _end(ctx, memory, notes)
    wait = memory.due - ctx.clock.monotonic() if told else hooks.POLL_SECONDS
    return Result(None, notes, max(0.01, wait), detail=_paused(memory))


def _memory(ctx: Context, migration: Migration) -> WatchMemory:
    """The memory of this process, else the mark on green of the same migration."""
    memory = ctx.session.part(WatchMemory)
    if memory.watched.migration == migration.id:
        return memory
    ctx.session.drop(WatchMemory)
    memory, kept = ctx.session.part(WatchMemory), ctx.the_subject().marks.watched
    memory.watched = kept if kept and kept.migration == migration.id else Watched(migration.id)
    return memory


async def _look(ctx: Context, migration: Migration, memory: WatchMemory) -> str | None:
    """Probe and ask; the breach in words if it is one."""
    limits, clock, green = ctx.options.watch, ctx.clock, ctx.the_subject()
    baseline = green.marks.baseline
    if baseline and baseline.migration != migration.id:
        baseline = None
    if memory.questions is None:
        memory.questions = await search.questions(ctx, green, baseline.points if baseline else ())
    figures = await search.ask(ctx, memory.questions)
    readings = prometheus.Readings()
    if ctx.options.prometheus:
        readings = await prometheus.read(ctx.options.prometheus, ctx.options.queries)
    now = clock.monotonic()
    look = Look(
        seconds=_since(memory.looked, now, limits),
        p95=figures.p95,
        error_rate=figures.error_rate,
        empty=figures.empty,
        out_of_range=readings.out_of_range,
        unsure=(*((figures.away,) if figures.away else ()), *readings.unsure),
    )
    paused_before = memory.watched.paused
    memory.watched, breach = judge(limits, baseline, memory.watched, look)
    memory.looked = now
    left = limits.duration - memory.watched.seconds
    memory.due = now + (min(limits.interval, left) if left > 0 else limits.interval)
    if memory.watched.paused != paused_before or now - memory.written >= WRITE_SECONDS:
        await _write(ctx, memory)
    return breach


def _since(looked: float | None, now: float, limits: WatchLimits) -> float:
    """Seconds since the last look; none if there was a gap."""
    if looked is None or now - looked > GAP * limits.interval + search.ROUND_SECONDS:
        return 0.0
    return now - looked


async def _write(ctx: Context, memory: WatchMemory) -> None:
    await ctx.server.mark(ctx.subject, memory.watched)
    memory.written = ctx.clock.monotonic()


async def _breached(
    ctx: Context, migration: Migration, memory: WatchMemory, breach: str, notes: tuple[Note, ...]
) -> Result:
    """Decline the migration, which causes the rollback, if blue is still there."""
    back = retained_source(ctx.mine, ctx.the_subject())
    await _write(ctx, memory)
    if back is None:
        memory.watched = replace(memory.watched, slow_for=None, failing_for=None)
        told = () if memory.nothing_left else (_alone(ctx, breach),)
        memory.nothing_left = True
        return Result(None, (*notes, *told), max(0.01, memory.due - ctx.clock.monotonic()))
    why = f"The migration to {ctx.subject} is rolled back: {breach}."
    declined = Declined(
        ctx.desired.wish, migration.plan_hash, migration.attempt, decline.WATCH_BREACHED, why, ctx.clock.now()
    )
    result = await decline.write(ctx, back.name, declined)
    return replace(result, notes=(*notes, *result.notes))


def _alone(ctx: Context, breach: str) -> Note:
    message = (
        f"{breach}; but the collection that {ctx.subject} replaced is gone, so there is nothing to roll back to."
    )
    return Note("WatchBreached", message, "Watch", warning=True)


async def _end(ctx: Context, memory: WatchMemory, notes: tuple[Note, ...]) -> Result:
    await _write(ctx, memory)
    message = f"{ctx.subject} has served for {memory.watched.seconds:.0f} s{_figures(ctx, memory)}."
    return Result(Event.WATCHED, (*notes, Note("MigrationCompleted", message, "Watch")))


def _figures(ctx: Context, memory: WatchMemory) -> str:
    baseline, p95 = ctx.the_subject().marks.baseline, memory.watched.p95
    if baseline is None or p95 is None:
        return ""
    return f"; searches took {p95 * 1000:.1f} ms at last, {baseline.p95 * 1000:.1f} ms before (95th percentile)"


def _paused(memory: WatchMemory) -> str:
    return f"The watch is paused: {memory.watched.paused}." if memory.watched.paused else ""
