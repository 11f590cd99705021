"""Before a return to a collection that has never been a partner of the one that serves.

Live collections are kept in step in pairs, each with the one that replaced it. What one that is further away lacks
is known only to its own partner; compared with the serving one directly, nobody could say which side has changed.
So all pairs on the way are brought in step first, the newest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from teal.domain.policy.due_rounds import LivePair, live_pairs
from teal.migration.context import Context
from teal.migration.session import Part
from teal.migration.sync import rounds
from teal.migration.sync.memory import PairMemories
from teal.migration.sync.pairs import paired

MOST_ROUNDS = 3
"""After so many, what writers change again and again is left to the rounds with the serving collection."""

Names = tuple[str, str]


@dataclass
class Between(Part, survives_plan=False):
    """How many rounds each pair on the way has had for this return; losing it costs these rounds again."""

    rounds: dict[Names, int] = field(default_factory=dict)
    clean: set[Names] = field(default_factory=set)

    def is_done(self, names: Names) -> bool:
        """Whether the pair needs no further round: nothing was left over, or enough were made."""
        return names in self.clean or self.rounds.get(names, 0) >= MOST_ROUNDS


def way(pairs: Sequence[LivePair], back: str) -> list[LivePair]:
    """The pairs from the serving collection to `back`, the newest first; one where both are partners."""
    newer = {pair[1].name: pair for pair in pairs}
    found: list[LivePair] = []
    while (pair := newer.pop(back, None)) is not None:
        found.insert(0, pair)
        back = pair[0].name
    return found


async def bring_in_step(ctx: Context, back: str) -> bool:
    """Go on with the rounds of the pairs between what serves and `back`; true when none is left."""
    pairs = way(live_pairs(ctx.view), back)
    if len(pairs) < 2:
        return True
    progress = ctx.session.part(Between)
    for newer, retained in pairs:
        names = (newer.name, retained.name)
        while not progress.is_done(names):
            memory = ctx.session.part(PairMemories).of(*names)
            memory.due = min(memory.due, ctx.clock.monotonic())
            within, pair = await paired(ctx, newer, retained)
            if not await rounds.keep(within, pair, memory, ctx.until):
                return False
            progress.rounds[names] = progress.rounds.get(names, 0) + 1
            if not memory.leftover:
                progress.clean.add(names)
    return True
