"""The judge is judged: what counts as the same answer, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.comparing import differences, normalised

Json = Any


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (0.40824828, 0.40824830),
        (1.0, 1),
        ([1, None, True, "x"], [1, None, True, "x"]),
        ({"a": {"b": [1.5]}}, {"a": {"b": [1.5000001]}}),
    ],
    ids=str,
)
def test_the_same(expected: Json, actual: Json) -> None:
    assert differences(expected, actual) == []


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (1, 1.0),
        (1, True),
        (1.0, True),
        (False, 0),
        (None, False),
        ("1", 1),
        (0.1, 0.10001),
        ([1, 2], [2, 1]),
        ([1], [1, 1]),
        ([1, 1], [1]),
        ({"a": None}, {}),
        ({}, {"a": None}),
        ({"a": [{"b": "x"}]}, {"a": [{"b": "y"}]}),
    ],
    ids=str,
)
def test_not_the_same(expected: Json, actual: Json) -> None:
    assert differences(expected, actual) != []


def test_a_difference_names_its_place() -> None:
    assert differences({"a": [0, {"b": 1}]}, {"a": [0, {"b": 2}]}) == ["$.a[1].b: expected 1, got 2"]


def test_only_volatile_values_are_left_out_and_never_their_type() -> None:
    here = {"peer_id": 1, "points": 3, "time": 0.1, "name": "docs-17-2026-01-02-03-04-05.snapshot"}
    there = {"peer_id": 2, "points": 3, "time": 0.2, "name": "docs-99-2026-11-12-13-14-15.snapshot"}
    assert normalised(here) == normalised(there)
    assert normalised(here) != normalised({**there, "points": 4})
    assert normalised(here) != normalised({**there, "peer_id": "2"})
    assert normalised(here) != normalised({**there, "name": "docs.snapshot"})
    assert normalised({"id": 1}, frozenset({"id"})) == normalised({"id": 2}, frozenset({"id"}))
