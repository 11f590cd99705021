"""Which point goes where, from what both sides held when they were in step and what they hold now."""

from __future__ import annotations

import pytest

from teal.domain.in_step import Diff, Side, difference, is_loss

P = b"\x08\x01"


def side(known: int | None, seen: int | None) -> Side:
    """One point's version when both sides were in step, and its version now; `None`: it was or is not there."""
    return Side({} if known is None else {P: known}, {} if seen is None else {P: seen})


NOTHING = Diff()
TO_RETAINED = Diff(back={P: 2})
TO_SERVING = Diff(forth={P: 2})
DROP_RETAINED = Diff(drop_retained=[P])
DROP_SERVING = Diff(drop_serving=[P])


def conflict(wins: Diff) -> Diff:
    return Diff(wins.forth, wins.back, wins.drop_serving, wins.drop_retained, [P])


@pytest.mark.parametrize(
    ("serving", "retained", "expected"),
    [
        pytest.param((1, 1), (7, 7), NOTHING, id="as it was, whatever each side's numbers are"),
        pytest.param((1, 2), (1, 1), TO_RETAINED, id="changed on serving"),
        pytest.param((None, 2), (None, None), TO_RETAINED, id="new on serving"),
        pytest.param((1, 1), (1, 2), TO_SERVING, id="changed on retained"),
        pytest.param((None, None), (None, 2), TO_SERVING, id="new on retained"),
        pytest.param((1, None), (1, 1), DROP_RETAINED, id="gone from serving"),
        pytest.param((1, 1), (1, None), DROP_SERVING, id="gone from retained"),
        pytest.param((1, 2), (1, 3), conflict(TO_RETAINED), id="changed on both"),
        pytest.param((None, 2), (None, 3), conflict(TO_RETAINED), id="new on both"),
        pytest.param((1, None), (1, 2), conflict(DROP_RETAINED), id="gone from serving, changed on retained"),
        pytest.param((1, 2), (1, None), conflict(TO_RETAINED), id="changed on serving, gone from retained"),
        pytest.param((1, None), (1, None), NOTHING, id="gone from both, which is no conflict"),
        pytest.param((None, None), (1, 1), DROP_RETAINED, id="gone before it was noted on serving"),
        pytest.param((1, 1), (None, None), NOTHING, id="never taken back to retained, which is no deletion"),
        pytest.param((1, None), (None, None), NOTHING, id="gone, and retained never had it"),
        pytest.param((None, None), (1, None), NOTHING, id="gone, and serving never had it"),
    ],
)
def test_one_point(
    serving: tuple[int | None, int | None], retained: tuple[int | None, int | None], expected: Diff
) -> None:
    found = difference(side(*serving), side(*retained))
    assert found == expected
    assert bool(found) is (expected != NOTHING)


def test_each_point_by_itself() -> None:
    a, b, c, d = (bytes([8, number]) for number in range(1, 5))
    serving = Side({a: 1, b: 1, c: 1}, {a: 2, b: 1, d: 4})
    retained = Side({a: 1, b: 1, c: 1}, {a: 1, b: 3, c: 1})
    assert difference(serving, retained) == Diff(forth={b: 3}, back={a: 2, d: 4}, drop_retained=[c])


@pytest.mark.parametrize(
    ("gone", "left", "loss"),
    [(0, 0, False), (0, 9, False), (4, 5, False), (5, 5, False), (6, 5, True), (1, 0, True)],
)
def test_more_than_half_at_once_is_a_loss(gone: int, left: int, loss: bool) -> None:
    assert is_loss(gone, left) is loss
