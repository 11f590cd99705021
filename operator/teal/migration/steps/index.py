"""Indexing: payload indexes first (HNSW builds links for them), then the declared optimizer settings.

Right after a PATCH a server can still show green with the old configuration, so readiness counts only when it
is seen on several polls in a row.
"""

from __future__ import annotations

from dataclasses import dataclass

from teal.domain.errors import HeldError
from teal.domain.transitions import Event
from teal.domain.tuning import difference
from teal.migration.context import Context, Result
from teal.migration.copying.memory import CopyMemory
from teal.migration.session import Part

POLLS = 3
POLL_SECONDS = 0.5
DEFAULT_INDEXING_THRESHOLD = 10000
FELL_BEHIND_SECONDS = 60.0


@dataclass
class IndexMemory(Part, survives_plan=False):
    """`since`: the monotonic time of the first look; `ready_polls`: how often in a row the index was complete."""

    since: float | None = None
    ready_polls: int = 0


async def run(ctx: Context) -> Result:
    """One look at the index: set what is missing, or wait, or report that it is complete."""
    memory, clock = ctx.session.part(IndexMemory), ctx.clock
    if memory.since is None:
        memory.since = clock.monotonic()
    if await _configure(ctx):
        memory.ready_polls = 0
        return Result(requeue_after=POLL_SECONDS)
    readiness = await ctx.server.admin.ready(ctx.subject)
    if readiness.failed:
        raise HeldError("IndexingFailed", f"Qdrant cannot index {ctx.subject}: {readiness.failed}")
    if readiness.needs_patch is not None:
        # After a restart a server does not go on indexing by itself: it shows grey until a PATCH comes.
        await ctx.server.patch(ctx.subject, readiness.needs_patch)
        memory.ready_polls = 0
        return Result(requeue_after=POLL_SECONDS, detail=readiness.waiting_for or "")
    memory.ready_polls = memory.ready_polls + 1 if readiness.ready else 0
    if memory.ready_polls < POLLS:
        return Result(requeue_after=POLL_SECONDS, detail=readiness.waiting_for or "")
    took, last_pass = clock.monotonic() - memory.since, ctx.session.part(CopyMemory).pass_seconds
    ctx.session.drop(IndexMemory)
    behind = ctx.source is not None and took > max(FELL_BEHIND_SECONDS, 3 * last_pass)
    return Result(Event.FELL_BEHIND if behind else Event.INDEXED)


async def _configure(ctx: Context) -> bool:
    """Set what differs between green's configuration and the plan's; true if something did."""
    name = ctx.subject
    target = await ctx.server.admin.collection(name)
    if target is None:
        raise LookupError(f"{name} is gone")
    tuning = ctx.plan.tuning.without_limits if ctx.source else ctx.plan.tuning
    missing = difference(tuning, target)
    patch = dict(missing.patch)
    deferred = (target.config.get("optimizer_config") or {}).get("indexing_threshold") == 0
    wanted = (tuning.sections.get("optimizers_config") or {}).get("indexing_threshold")
    if deferred and wanted is None:
        patch = {**patch, "optimizers_config": {"indexing_threshold": DEFAULT_INDEXING_THRESHOLD}}
    for field in missing.drop_indexes:
        await ctx.server.delete_index(name, field)
    for field, schema in missing.create_indexes.items():
        await ctx.server.create_index(name, field, schema)
    if patch:
        await ctx.server.patch(name, patch)
    # Last, or after a crash an index that an edit removed would look like one that the application made.
    declared = ctx.desired.tuning.declared()
    if target.marks.declared != declared:
        await ctx.server.mark(name, declared)
    return bool(patch or missing.create_indexes or missing.drop_indexes)
