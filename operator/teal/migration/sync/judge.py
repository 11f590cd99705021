"""What is known of a suspect once its contents were read: the state of each side, and whether both are equal.

A content is better evidence than a version, and what Teal has noted of a point, of its own writes above all, is
better than both. Contents are read after the scan, so a side that is unchanged by its version alone is asked for
the version once more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from teal.domain.columns import NO_DIGEST, UNKNOWN
from teal.domain.plan import same_encoder
from teal.domain.point_state import State
from teal.migration.copying.equality import same
from teal.migration.copying.transform import stale_between
from teal.migration.sync.comparison import PartWork, Suspects, values_at
from teal.migration.sync.memory import PairMemory
from teal.migration.sync.pairs import Pair
from teal.migration.sync.side import RoundSide
from teal.migration.sync.write_ahead import DELETED
from teal.qdrant import raw_keys, wire
from teal.qdrant.together import both
from teal.qdrant.wire import RawId, RawPoint

NEWER, RETAINED = 0, 1


@dataclass(frozen=True)
class Found:
    """One suspect: for each side its state, its content now (`None`: it is not there) and the digest of that.

    `versions` are those of the scan. `by_scan`: that this side is unchanged is known from the scan alone.
    """

    id: RawId
    states: tuple[State, State]
    points: tuple[RawPoint | None, RawPoint | None]
    digests: tuple[int, int]
    versions: tuple[int, int]
    by_scan: tuple[bool, bool]


class Judge:
    """Of the points of one round."""

    def __init__(self, pair: Pair, memory: PairMemory, sides: tuple[RoundSide, RoundSide]) -> None:
        self._memory, self._sides = memory, sides
        self._compared = (pair.serving, pair.retained) if same_encoder(pair.serving, pair.retained) else ()
        self._stale = (
            stale_between(pair.retained, pair.serving.name),
            stale_between(pair.serving, pair.retained.name),
        )

    async def found(self, work: PartWork, batch: Suspects) -> list[Found]:
        """Read the contents of a batch, and judge."""
        return await self._as_it_was_read(await self._read(work, batch))

    def equal(self, found: Found) -> bool:
        """Whether both sides hold the same now, or neither holds the point."""
        here, there = found.points
        if here is None or there is None:
            return here is there
        stale = self._stale[RETAINED if found.states[NEWER] is State.CHANGED else NEWER]
        if found.id in stale:
            return False
        return same(here, there, *self._compared)

    async def _read(self, work: PartWork, batch: Suspects) -> list[Found]:
        """The contents of a batch, and what they say of the states."""
        ids = raw_keys.raw_ids(batch.keys)
        here, there = await both(*(side.contents(ids) for side in self._sides))
        known = [values_at(columns, batch.keys) for columns in batch.known]
        seen = [values_at(columns, batch.keys) for columns in batch.seen]
        found = []
        for row, point in enumerate(ids):
            points = (here.get(point), there.get(point))
            digests = tuple(wire.content_digest(each) if each is not None else DELETED for each in points)
            judgements = [
                self._state(
                    side,
                    point,
                    digests[side],
                    State(int(batch.states[side][row])),
                    known[side][1][row] if known[side][2][row] else None,
                    judged=work.restored or not (known[side][2][row] or work.evidence[side].complete),
                )
                for side in (NEWER, RETAINED)
            ]
            states, by_scan = zip(*judgements, strict=True)
            versions = tuple(seen[side][0][row] for side in (NEWER, RETAINED))
            found.append(Found(point, states, points, digests, versions, by_scan))  # type: ignore[arg-type]
        return found

    async def _as_it_was_read(self, found: list[Found]) -> list[Found]:
        """Contents are read after the scan. Where only the scan says that a side is unchanged, its version has to
        be the same after the read, too: else the content is that of a write which the scan has not seen.
        """
        told = [
            [each for each in found if each.by_scan[side] and not self.equal(each)] for side in (NEWER, RETAINED)
        ]
        moved = await both(*(self._moved_since_scan(side, told[side]) for side in (NEWER, RETAINED)))
        return [
            replace(each, states=(moved[NEWER].get(each.id, here), moved[RETAINED].get(each.id, there)))
            for each in found
            for here, there in [each.states]
        ]

    async def _moved_since_scan(self, side: int, told: list[Found]) -> dict[RawId, State]:
        if not told:
            return {}
        now = await self._sides[side].versions([each.id for each in told])
        return {each.id: State.CHANGED for each in told if now.get(each.id, UNKNOWN) != each.versions[side]}

    def _state(
        self, side: int, point: RawId, digest: int, by_version: State, known: int | None, *, judged: bool
    ) -> tuple[State, bool]:
        """Of one point on one side, whose content was read; and whether only the scan says that it is unchanged.

        `known`: the digest of its row, if it has one. `judged`: its row, or that there is none, tells nothing more
        than the scan did.
        """
        log = self._memory.log
        if log.has(self._sides[side].name, point, digest):
            return State.UNCHANGED, False
        if by_version is State.CHANGED and point in self._stale[1 - side]:
            return State.CHANGED, False  # its text has changed before, and now its vector, if only on this side
        if point in self._memory.uncarried.get(self._sides[side].name, {}):
            return State.CHANGED, False
        if digest == DELETED and log.brought(self._sides[1 - side].name, point):
            return State.CHANGED, False  # it was here, or Teal would not have brought it to the other side
        if point in self._memory.unsettled:
            return State.UNKNOWN if self._memory.unsettled[point][side] == digest else State.CHANGED, False
        if judged or (known == NO_DIGEST and digest != DELETED):
            return by_version, by_version is State.UNCHANGED
        if known is None or digest == DELETED:
            return State.UNCHANGED if known is None and digest == DELETED else State.CHANGED, False
        return State.UNCHANGED if known == digest else State.CHANGED, False
