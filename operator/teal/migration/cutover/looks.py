"""What the attempts of one cut-over have seen of the old side, from one step to the next."""

from __future__ import annotations

from dataclasses import dataclass

from teal.domain.observed import CollectionState
from teal.domain.rest import Numbers, why_not_at_rest
from teal.migration.context import Context
from teal.migration.session import Part
from teal.qdrant.barrier import Barriers

STILL_PASSES = 2


@dataclass
class Looks(Part, survives_plan=False):
    """Losing it costs another pass.

    Attributes:
        since: the first look, a monotonic time.
        base: the numbers after the barrier before the pass that is under way or was the last one.
        begun: whether `base` was read, though it may be `None`.
        settled: whether a barrier has passed before `base` was read.
        latest: the numbers after the barrier that followed the last pass.
        busy: looks in a row that were not quiet.
        still: passes in a row that found nothing to do.
    """

    since: float | None = None
    barriers: Barriers | None = None
    base: Numbers | None = None
    begun: bool = False
    settled: bool = False
    latest: Numbers | None = None
    busy: int = 0
    still: int = 0

    async def barriers_on(self, ctx: Context, old: CollectionState) -> Barriers:
        """The barriers on the old side; begun anew if its peers are not the same any more.

        Raises:
            TransientError: reason `PeerUnreachable`.
        """
        peers = await ctx.server.admin.peers()
        peers.require_reachable()
        if self.barriers is None or (self.barriers.peers.found, self.barriers.peers.missing) != (
            peers.found,
            peers.missing,
        ):
            self.barriers, self.base, self.begun = Barriers(ctx.server.admin, old.name, peers), None, False
        return self.barriers

    async def before_pass(self, barriers: Barriers) -> None:
        """A barrier, and the numbers after it: what comes later is what the pass may miss."""
        self.settled = await barriers.barrier()
        self.base, self.begun = await barriers.look(), True

    async def after_pass(self, barriers: Barriers, *, found_nothing: bool) -> bool:
        """Whether the old side was at rest from before the pass until now.

        Where that cannot be counted, two passes in a row that found nothing stand for it. It is weaker, because a
        write may come after the last look, and is told as such. Where a barrier was refused, before the pass or
        after it, a write may be under way, and nothing is said to be at rest.
        """
        settled = await barriers.barrier() and self.settled
        self.latest, self.begun = await barriers.look(), False
        self.still = self.still + 1 if found_nothing else 0
        counted = self.base is not None and not self.base.missing and self.base.epoch is not None
        still = why_not_at_rest(self.base, self.latest) is None if counted else self.still >= STILL_PASSES
        quiet = settled and still
        self.busy = 0 if quiet else self.busy + 1
        return quiet
