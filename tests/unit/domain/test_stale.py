"""Whose vector may be older than its text: nobody is left out, and it outlives a process."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teal.domain.stale import KEPT_SECONDS, Lately, Sieve

IDS = st.sets(st.binary(min_size=1, max_size=17), max_size=200)


def sieve(*points: bytes) -> Sieve:
    found = Sieve()
    found.add(points)
    return found


@given(IDS, IDS)
def test_nobody_is_left_out(some: set[bytes], others: set[bytes]) -> None:
    mark = json.loads(json.dumps((sieve(*some) | sieve(*others)).about("docs-1")))
    read = Sieve.read(mark, "docs-1")
    assert all(point in read for point in some | others)


def test_few_others_are_in_it() -> None:
    found = sieve(*(n.to_bytes(8, "big") for n in range(1000)))
    others = sum(n.to_bytes(8, "big") in found for n in range(1000, 11_000))
    assert others < 10_000 * 0.03


def test_a_mark_is_about_one_collection() -> None:
    mark = sieve(b"1").about("docs-1")
    assert b"1" not in Sieve.read(mark, "docs-2")
    assert b"1" not in Sieve.read(None, "docs-1")


@pytest.mark.parametrize("points", [None, 7, "no base64!", "AAAA", "eJwDAAAAAAE="])
def test_a_mark_that_cannot_be_read_means_everybody(points: Any) -> None:
    assert b"1" in Sieve.read({"collection": "docs-1", "points": points}, "docs-1")


def test_even_the_fullest_mark_is_small() -> None:
    found = sieve(*(n.to_bytes(8, "big") for n in range(0, 400_000, 7)))
    assert len(json.dumps(found.about("docs-1"))) < 12_000


@pytest.mark.parametrize(
    ("age", "expected"),
    [(0.0, True), (KEPT_SECONDS, True), (2 * KEPT_SECONDS, True), (2 * KEPT_SECONDS + 1, False)],
)
def test_a_change_is_forgotten_after_a_while(age: float, expected: bool) -> None:
    lately = Lately()
    lately.note([b"1"], 1000.0)
    assert (b"1" in lately.sieve(1000.0 + age)) is expected


@given(st.lists(st.floats(0, 400), min_size=1, max_size=12))
def test_whatever_is_noted_is_known_for_the_time_promised(pauses: list[float]) -> None:
    lately, now, noted = Lately(), 0.0, list[tuple[float, bytes]]()
    for number, pause in enumerate(pauses):
        now += pause
        noted.append((now, bytes([number])))
        lately.note([bytes([number])], now)
        found = lately.sieve(now)
        assert all(point in found for at, point in noted if now - at <= KEPT_SECONDS)


def test_what_an_earlier_process_noted_is_known() -> None:
    lately = Lately()
    lately.note([b"2"], 10.0)
    lately.recall(sieve(b"1"), 11.0)
    lately.note([b"3"], 12.0)
    assert all(point in lately.sieve(13.0) for point in (b"1", b"2", b"3"))
