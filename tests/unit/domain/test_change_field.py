"""From which value on a pass must look, so that it misses no write that raised the field."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from teal.domain.change_field import Value, Watermark, read

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("found", "value"),
    [
        (7, 7.0),
        (-0.5, -0.5),
        ("2026-05-01T12:00:00Z", NOON),
        ("2026-05-01T14:00:00+02:00", NOON),
        ("2026-05-01 12:00:00", NOON),
        ("2026-05-01", NOON.replace(hour=0)),
        (True, None),
        (None, None),
        (float("nan"), None),
        ("yesterday", None),
        ("20260501", None),
        ([7], None),
        ({"n": 7}, None),
    ],
)
def test_what_has_an_order(found: Any, value: Value | None) -> None:
    assert read(found) == value


@pytest.mark.parametrize("nanoseconds", [1_700_000_000_000_000_001, 2**53 + 1, 2**63 - 1, -(2**53) - 1])
def test_what_a_double_cannot_hold_is_rounded_down(nanoseconds: int) -> None:
    value = read(nanoseconds)
    assert isinstance(value, float)
    assert int(value) < nanoseconds


def test_the_next_pass_looks_from_what_was_highest_when_this_one_began() -> None:
    mark, floors = Watermark("n"), []
    for value in (5, 9, 9, 4):
        at_begin = mark.highest
        mark.see([(b"a", value)])
        mark.complete(at_begin)
        floors.append(mark.floor)
    assert floors == [None, 5, 9, 9]


def test_the_highest_of_one_kind_is_kept_and_the_others_are_counted() -> None:
    mark = Watermark("n")
    mark.see([(b"a", 3), (b"b", "2026-05-01"), (b"c", 9), (b"d", None), (b"e", 5)])
    assert mark.highest == 9
    assert (mark.without, mark.samples) == (2, [b"b", b"d"])
    assert mark.incomplete


def test_it_is_complete_as_long_as_all_points_have_a_value() -> None:
    mark = Watermark("n")
    mark.see([(b"a", 3), (b"b", 4.5)])
    assert not mark.incomplete
