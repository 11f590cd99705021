"""Two live collections, written to on both sides: which way a point goes, from what is known of both sides.

Each side of a point is unchanged since both were in step, changed, or unknown (`domain.point_state`). Invariant: a
point is moved only away from a side that is known to have changed, or if the other side is known not to have. What
is unknown on both sides, or changed on the retained side alone while the serving side is unknown, stays as it is:
it is *unsettled*, shown, and keeps the retained collection from being retired. The one exception: an application
that has promised to write to both sides (DualWrite) is right on the serving side where that one is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

from teal.domain.point_state import State


class Move(Enum):
    """What is done about one point."""

    NONE = auto()
    TO_RETAINED = auto()
    TO_SERVING = auto()
    UNSETTLED = auto()


OneWay = Literal[Move.TO_RETAINED, Move.TO_SERVING]
"""The two directions."""


@dataclass(frozen=True)
class Ruling:
    """`conflict`: the application has, or may have, changed both sides; the serving side wins."""

    move: Move
    conflict: bool = False


_RULINGS = {
    (State.UNCHANGED, State.UNCHANGED): Ruling(Move.NONE),
    (State.CHANGED, State.UNCHANGED): Ruling(Move.TO_RETAINED),
    (State.UNCHANGED, State.CHANGED): Ruling(Move.TO_SERVING),
    (State.CHANGED, State.CHANGED): Ruling(Move.TO_RETAINED, conflict=True),
    (State.CHANGED, State.UNKNOWN): Ruling(Move.TO_RETAINED, conflict=True),
    (State.UNKNOWN, State.UNCHANGED): Ruling(Move.TO_RETAINED),
    (State.UNCHANGED, State.UNKNOWN): Ruling(Move.TO_SERVING),
    (State.UNKNOWN, State.CHANGED): Ruling(Move.UNSETTLED),
    (State.UNKNOWN, State.UNKNOWN): Ruling(Move.UNSETTLED),
}


def ruling(
    serving: State, retained: State, *, equal: bool, retained_is_later: bool = False, both_written: bool = False
) -> Ruling:
    """What is done about a point; `equal`: both sides hold the same now, or neither has it.

    `retained_is_later`: the application has gone back to the retained side, so what it has written there is newer.
    `both_written`: it has promised to write to both sides, so where the serving side is unknown, it is right.
    """
    if equal:
        return Ruling(Move.NONE)
    if retained_is_later and serving is State.CHANGED and retained is State.CHANGED:
        return Ruling(Move.TO_SERVING, conflict=True)
    if both_written and serving is State.UNKNOWN:
        return Ruling(Move.TO_RETAINED)
    return _RULINGS[serving, retained]


def is_loss(gone: int, left: int) -> bool:
    """Whether so many points have gone that it is a loss: nobody's deleting, and not to be carried over."""
    return gone > left
