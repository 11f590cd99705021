"""When a round that keeps live collections in step goes before the action that was decided.

A round may interrupt any action but a cut-over. A retained collection gets its last round after its retention has
ended and before it is retired.
"""

from __future__ import annotations

from collections.abc import Sequence

from teal.domain.observed import CollectionState
from teal.domain.policy.actions import OF_STAGE, Decision, Do
from teal.domain.policy.view import RoundTimes, View
from teal.domain.transitions import Stage

INTERRUPTIBLE = frozenset({Do.REST, Do.STAY, *OF_STAGE.values()} - {OF_STAGE[Stage.PROMOTING]})

LivePair = tuple[CollectionState, CollectionState]
"""A newer collection, and the retained one that it replaced."""


def interleave(view: View, decision: Decision) -> Decision:
    """`decision`, or a round that goes before it."""
    due = due_pairs(view, decision) if view.rounds is not None else []
    if not due:
        return decision
    pairs = tuple((newer.name, retained.name) for newer, retained in due)
    return Decision(
        Do.KEEP_IN_STEP, decision.plan, decision.subject, declined=decision.declined, pairs=pairs, then=decision,
        rule="interleave",
    )  # fmt: skip


def due_pairs(view: View, decision: Decision) -> list[LivePair]:
    """The pairs whose round goes before `decision`, the newest first."""
    if decision.do is Do.RETIRE:
        ended = _retention_end(view, decision.subject)
        last_rounds = [pair for pair in live_pairs(view) if pair[1].name == decision.subject]
        return [pair for pair in last_rounds if _times(view, pair).last < ended]
    if decision.do not in INTERRUPTIBLE:
        return []
    return [pair for pair in live_pairs(view) if _times(view, pair).due <= view.now]


def _times(view: View, pair: LivePair) -> RoundTimes:
    return (view.rounds or {}).get((pair[0].name, pair[1].name), RoundTimes())


def _retention_end(view: View, name: str | None) -> float:
    state = view.mine.get(name or "")
    replaced = state.marks.replaced if state else None
    return replaced.until(view.desired.keep_for) if replaced else 0.0


def live_pairs(view: View) -> list[LivePair]:
    """The pairs of collections that are kept in step, the newest first."""
    serving = view.mine.get(view.serving.name) if view.serving else None
    return pairs_of(serving, list(view.mine.values()))


def pairs_of(serving: CollectionState | None, mine: Sequence[CollectionState]) -> list[LivePair]:
    """Which collections are kept in step, each with the one that replaced it: the newest pair first.

    Where several are retained, a write to the oldest reaches the serving one through those in between, and the
    other way round.
    """
    pairs: list[LivePair] = []
    newer_ones, left = [serving] if serving else [], {each.name: each for each in mine}
    for newer in newer_ones:
        left.pop(newer.name, None)
        for older in retained_by(newer, list(left.values())) if newer.marks.in_step else ():
            del left[older.name]
            pairs.append((newer, older))
            newer_ones.append(older)
    return pairs


def retained_by(serving: CollectionState, mine: Sequence[CollectionState]) -> list[CollectionState]:
    """The collections that `serving` has replaced and that are still retained, the last one first."""
    retained = [s for s in mine if s.marks.replaced and s.marks.replaced.by == serving.name]
    return sorted(retained, key=lambda s: s.marks.replaced.at if s.marks.replaced else 0.0, reverse=True)
