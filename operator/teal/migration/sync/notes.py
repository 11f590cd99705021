"""What is noted durably about two collections that are in step (`InStep`, on the newer one).

Invariant: a note never says more than what was so when it was made. Floors stand only for parts in which the last
comparison left nothing over, within one epoch; sums stand for the contents that both sides held.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from teal.domain.buckets import Buckets
from teal.domain.epoch import Floors, Scan
from teal.domain.marks import InStep, SideNote
from teal.domain.observed import CollectionState
from teal.migration.context import Context
from teal.migration.copying.side_ledger import SideLedger


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
