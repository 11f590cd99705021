"""What is noted durably about two collections that are in step (`InStep`, on the newer one).

Invariant: a note never says more than what was so when it was made. Floors stand only for parts in which the last
comparison left nothing over, within one epoch; sums stand for the contents that both sides held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from teal.domain.buckets import Buckets
from teal.domain.columns import columns_of
from teal.domain.epoch import Floors, Scan
from teal.domain.keys import Keys
from teal.domain.marks import InStep, SideNote
from teal.domain.observed import CollectionState
from teal.migration.context import Context
from teal.migration.copying.side_ledger import SideLedger
from teal.qdrant import raw_keys, wire
from teal.qdrant.wire import RawId


def side_note(
    ctx: Context, state: CollectionState, ledger: SideLedger, scans: Sequence[Scan | None], own: int
) -> SideNote:
    """What is noted about one side. `own`: how many operations of Teal's are committed by the time it stands.

    `scans` are those after which nothing was left over, by part. Those of another epoch than the last one say
    nothing any more.
    """
    epochs = [scan.epoch for scan in scans if scan is not None and scan.epoch is not None]
    last = max(epochs, key=lambda epoch: epoch.own_commits, default=None)
    floors = tuple(
        (scan.floors.low, scan.floors.high)
        if last is not None and scan is not None and scan.epoch is not None and scan.epoch.same_as(last)
        else None
        for scan in scans
    )
    decisions = ctx.server.admin.decisions
    more = own + (decisions - last.own_commits if last is not None and last.commit is not None else 0)
    return SideNote(instance_of(state), last.noted(more) if last else "", floors, ledger.contents.as_json())


def instance_of(state: CollectionState) -> str:
    """Which collection of this name it is: one that is made again has another instance."""
    return str(state.marks.owner.created_at) if state.marks.owner else ""


def floors_of(note: SideNote | None, part: int, now: Scan | None) -> Floors | None:
    """The noted floors of a part, if versions that are read now can be compared with them."""
    if note is None or now is None or now.epoch is None or part >= len(note.floors):
        return None
    noted = note.floors[part]
    return Floors(*noted) if noted is not None and now.epoch.is_noted_as(note.epoch) else None


def sums_of(note: SideNote | None, state: CollectionState, parts: int) -> Buckets | None:
    """The noted sums; `None` if there are none of this very collection that suit so many parts."""
    if note is None or note.instance != instance_of(state):
        return None
    try:
        found = Buckets.from_json(note.contents)
    except ValueError:
        return None
    return found if len(found) % parts == 0 else None


AGAIN = -1
"""Stands for the digest of a point that could not be carried for a reason that may pass."""
OPEN_AT_MOST = 1_000
"""How many points a note names that are not in step."""


@dataclass(frozen=True)
class OpenPoints:
    """The points of a pair that are not in step, each with the digests that were seen.

    `unsettled`: of the newer and of the retained side, of points of which nobody knows which side changed.
    `uncarried`: of points that could not be made on the other side, by the collection that they stand on.
    """

    unsettled: Mapping[RawId, tuple[int, int]]
    uncarried: Mapping[str, Mapping[RawId, int]]

    def __len__(self) -> int:
        return len(self.unsettled) + sum(map(len, self.uncarried.values()))

    @property
    def keys(self) -> Keys:
        """All of them, in order."""
        ids = {*self.unsettled, *(point for points in self.uncarried.values() for point in points)}
        return columns_of(raw_keys.of(list(ids))).keys

    def exchanged(self) -> OpenPoints:
        """The same when the retained one is the newer."""
        return OpenPoints({point: (b, a) for point, (a, b) in self.unsettled.items()}, self.uncarried)

    def may_pass(self) -> bool:
        """Whether some of them should be tried again though nothing changes."""
        return any(AGAIN in points.values() for points in self.uncarried.values())

    def written(self) -> dict[str, Any]:
        """As `InStep` has them."""
        unsettled = {_text(p): (f"{a:x}", f"{b:x}") for p, (a, b) in self.unsettled.items()}
        uncarried = {
            name: {_text(p): "" if digest == AGAIN else f"{digest:x}" for p, digest in points.items()}
            for name, points in self.uncarried.items()
            if points
        }
        return {"unsettled": unsettled or None, "uncarried": uncarried or None}

    @classmethod
    def read(cls, note: InStep) -> Self:
        """What an earlier process noted."""
        return cls(
            {wire.raw_id(wire.plain(p)): (int(a, 16), int(b, 16)) for p, (a, b) in (note.unsettled or {}).items()},
            {
                name: {wire.raw_id(wire.plain(p)): int(d, 16) if d else AGAIN for p, d in points.items()}
                for name, points in (note.uncarried or {}).items()
            },
        )


ALL_IN_STEP = OpenPoints({}, {})


def _text(point: RawId) -> str:
    return str(wire.plain_id(point))


def noted_between(
    newer: CollectionState, retained: CollectionState, others: Iterable[CollectionState] = ()
) -> InStep:
    """What was noted when both were last in step.

    A collection that never was with what serves now was so with others, in turn. Then nothing is known of the
    serving side, and of the retained one what the last of its own successors noted.
    """
    direct = newer.marks.in_step.get(retained.name)
    if direct is not None:
        return direct
    notes = [state.marks.in_step.get(retained.name) for state in others]
    last = max((note for note in notes if note is not None), key=lambda note: note.at, default=None)
    return InStep(retained.name, here=None, there=last.there if last else None)
