"""Throttle: population waits while the serving collection's readers are slow.

Teal itself makes a small search on blue, at most once a second. If it is too slow, population waits. If the
latency cannot be measured, population waits too: the throttle fails closed. Waiting is shown as throttled, with
the reason, and is not a stall.
"""

from __future__ import annotations

from teal.domain.errors import TransientError
from teal.migration.context import Context
from teal.migration.copying.memory import Progress
from teal.qdrant.points import any_search

PROBE_SECONDS = 1.0
PAUSE_SECONDS = 0.2
LIMIT = 10


async def small_search(ctx: Context, collection: str, name: str) -> int:
    """One search as a reader would make it, by an arbitrary vector; how many points it found.

    `name` is what the request says (an alias or the collection itself), `collection` whose schema it is.
    """
    state = ctx.observed.state(collection)
    if state is None:
        raise LookupError(f"{collection} was not observed")
    by, vector = any_search(state.schema)
    return len(await ctx.server.points.query(name, vector, LIMIT, name=by))


class Throttle:
    """Says when the next batch may start. Without `throttle.maxReadLatencyMillis` it always may."""

    def __init__(self, ctx: Context, serving: str) -> None:
        self._ctx = ctx
        self._serving = serving
        self._limit = ctx.options.max_read_latency
        self._measured_at = float("-inf")
        self._reason: str | None = None

    async def clear(self, until: float) -> bool:
        """Wait while reads are slow; false when `until` comes first."""
        if self._limit is None:
            return True
        clock = self._ctx.clock
        while True:
            if clock.monotonic() - self._measured_at >= PROBE_SECONDS:
                await self._measure(self._limit)
            self._ctx.session.part(Progress).throttled = self._reason
            if self._reason is None:
                return True
            if clock.monotonic() >= until:
                return False
            await clock.sleep(PAUSE_SECONDS)

    async def _measure(self, limit: float) -> None:
        clock = self._ctx.clock
        began = clock.monotonic()
        try:
            await small_search(self._ctx, self._serving, self._serving)
        except TransientError as error:
            self._reason = f"the latency of reads cannot be measured: {error.message}"
        else:
            took = clock.monotonic() - began
            slow = f"a search on {self._serving} took {took * 1000:.0f} ms (limit {limit * 1000:.0f} ms)"
            self._reason = slow if took > limit else None
        self._measured_at = clock.monotonic()
