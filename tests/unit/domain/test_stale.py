"""Whose vector may be older than its text: nobody is left out, and it outlives a process."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teal.domain.marks import Stale
from teal.domain.stale import KEPT_SECONDS, REMEMBERED, BloomFilter, RecentTextChanges

IDS = st.sets(st.binary(min_size=1, max_size=17), max_size=200)


def bloom_filter(*points: bytes) -> BloomFilter:
    found = BloomFilter()
    found.add(points)
    return found


def through_json(mark: Stale) -> Stale:
    return Stale.read_about(mark.partner, json.loads(json.dumps(mark.as_json())))


@given(IDS, IDS)
def test_nobody_is_left_out(some: set[bytes], others: set[bytes]) -> None:
    read = BloomFilter.read(through_json((bloom_filter(*some) | bloom_filter(*others)).as_mark("blue")))
    assert all(point in read for point in some | others)


def test_few_others_are_in_it() -> None:
    found = bloom_filter(*(n.to_bytes(8, "big") for n in range(1000)))
    others = sum(n.to_bytes(8, "big") in found for n in range(1000, 11_000))
    assert others < 10_000 * 0.03


def test_without_a_mark_it_is_nobody() -> None:
    assert b"1" not in BloomFilter.read(None)


@pytest.mark.parametrize("points", [None, 7, "no base64!", "AAAA", "eJwDAAAAAAE="])
def test_a_mark_that_cannot_be_read_means_everybody(points: Any) -> None:
    assert b"1" in BloomFilter.read(Stale.read_about("blue", {"points": points}))


def test_even_the_fullest_mark_is_small() -> None:
    found = bloom_filter(*(n.to_bytes(8, "big") for n in range(0, 400_000, 7)))
    assert len(json.dumps(found.as_mark("blue").as_json())) < 12_000


@pytest.mark.parametrize(("age", "expected"), [(0.0, True), (KEPT_SECONDS, True), (KEPT_SECONDS + 1, False)])
def test_a_text_is_forgotten_after_a_while(age: float, expected: bool) -> None:
    lately = RecentTextChanges()
    lately.see(b"1", b"vector", 1000.0, new_text=True)
    assert (b"1" in lately.stale(1000.0 + age)) is expected


@given(st.lists(st.tuples(st.floats(0, 400), st.integers(0, 3)), min_size=1, max_size=20))
def test_whatever_is_noted_is_known_for_the_time_promised(changes: list[tuple[float, int]]) -> None:
    lately, now, last = RecentTextChanges(), 0.0, dict[bytes, float]()
    for pause, number in changes:
        now += pause
        point = bytes([number])
        last[point] = now
        lately.see(point, b"vector", now, new_text=True)
        found = lately.stale(now)
        assert {each: each in found for each in last} == {
            each: now - at <= KEPT_SECONDS for each, at in last.items()
        }


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param([("a", False)], False, id="as it was"),
        pytest.param([("a", False), ("b", True)], False, id="text and vector at once"),
        pytest.param([("a", False), ("a", True)], True, id="text alone"),
        pytest.param([("a", False), ("a", True), ("a", False)], True, id="then another part of the payload"),
        pytest.param([("a", False), ("a", True), ("b", False)], False, id="then its vector"),
        pytest.param([("a", False), ("a", True), ("a", True)], True, id="two texts"),
        pytest.param([("a", False), ("b", False)], False, id="a vector alone"),
        pytest.param([("a", True)], True, id="a text, and nobody knows the vector before"),
    ],
)
def test_a_text_waits_for_its_vector(seen: list[tuple[str, bool]], expected: bool) -> None:
    lately = RecentTextChanges()
    for vector, new_text in seen:
        lately.see(b"1", vector.encode(), 1.0, new_text=new_text)
    assert (b"1" in lately.stale(2.0)) is expected


def test_a_vector_that_is_not_remembered_any_more_is_in_doubt() -> None:
    lately = RecentTextChanges()
    for number in range(REMEMBERED + 1):
        lately.see(number.to_bytes(8, "big"), b"vector", 1.0, new_text=False)
    for number in (0, REMEMBERED):
        lately.see(number.to_bytes(8, "big"), b"another", 2.0, new_text=True)
    found = lately.stale(3.0)
    assert (0).to_bytes(8, "big") in found
    assert REMEMBERED.to_bytes(8, "big") not in found


def test_what_an_earlier_process_noted_is_known() -> None:
    lately = RecentTextChanges()
    lately.see(b"2", b"vector", 10.0, new_text=True)
    lately.recall(bloom_filter(b"1"), 11.0)
    lately.see(b"3", b"vector", 12.0, new_text=True)
    assert all(point in lately.stale(13.0) for point in (b"1", b"2", b"3"))
    assert b"1" not in lately.stale(12.0 + KEPT_SECONDS)
