"""Which way a point goes, from what is known of both sides."""

from __future__ import annotations

from itertools import product

import pytest

from teal.domain.in_step import Move, Ruling, is_loss, ruling
from teal.domain.point_state import State

U, C, X = State.UNCHANGED, State.CHANGED, State.UNKNOWN


@pytest.mark.parametrize(
    ("serving", "retained", "move", "conflict"),
    [
        pytest.param(U, U, Move.NONE, False, id="as it was"),
        pytest.param(C, U, Move.TO_RETAINED, False, id="changed on serving"),
        pytest.param(U, C, Move.TO_SERVING, False, id="changed on retained"),
        pytest.param(C, C, Move.TO_RETAINED, True, id="changed on both: serving wins"),
        pytest.param(C, X, Move.TO_RETAINED, True, id="changed on serving, and perhaps on retained"),
        pytest.param(X, U, Move.TO_RETAINED, False, id="they differ, and retained is as it was"),
        pytest.param(U, X, Move.TO_SERVING, False, id="they differ, and serving is as it was"),
        pytest.param(X, C, Move.UNSETTLED, False, id="changed on retained, and perhaps on serving"),
        pytest.param(X, X, Move.UNSETTLED, False, id="nobody knows which side changed"),
    ],
)
def test_where_both_sides_differ(serving: State, retained: State, move: Move, conflict: bool) -> None:
    assert ruling(serving, retained, equal=False) == Ruling(move, conflict)


def test_of_two_changes_the_later_one_counts_where_it_is_known() -> None:
    assert ruling(C, C, equal=False, retained_is_later=True) == Ruling(Move.TO_SERVING, conflict=True)
    assert ruling(C, X, equal=False, retained_is_later=True) == Ruling(Move.TO_RETAINED, conflict=True)


@pytest.mark.parametrize("retained", [U, C, X])
def test_an_application_that_writes_to_both_is_right_on_the_serving_side(retained: State) -> None:
    assert ruling(X, retained, equal=False, both_written=True) == Ruling(Move.TO_RETAINED)
    assert ruling(U, C, equal=False, both_written=True) == Ruling(Move.TO_SERVING)


@pytest.mark.parametrize(("serving", "retained"), list(product(State, State)))
def test_what_is_equal_on_both_sides_needs_nothing(serving: State, retained: State) -> None:
    assert ruling(serving, retained, equal=True) == Ruling(Move.NONE)


@pytest.mark.parametrize(
    ("gone", "left", "loss"),
    [(0, 0, False), (0, 9, False), (4, 5, False), (5, 5, False), (6, 5, True), (1, 0, True)],
)
def test_more_than_half_at_once_is_a_loss(gone: int, left: int, loss: bool) -> None:
    assert is_loss(gone, left) is loss
