"""Catching up rests on this: what the ledger does not report as changed is on green, also after a crash."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teal.domain.ledger import MAX_BUCKETS, MIN_BUCKETS, Digests, Ledger, RawId, buckets_for, restore
from teal.domain.marks import Checkpoint

ids = st.integers(0, 40).map(lambda n: n.to_bytes(8, "big"))
versions = st.dictionaries(ids, st.integers(0, 5), max_size=40)
"""Points and their versions; few of both, so that buckets are shared and versions come back."""


def digests(found: dict[RawId, int], buckets: int = MIN_BUCKETS) -> Digests:
    made = Digests(buckets)
    for point, version in found.items():
        made.toggle(point, version)
    return made


class TestDigests:
    @given(versions, st.randoms())
    def test_order_does_not_matter(self, found: dict[RawId, int], shuffle: random.Random) -> None:
        shuffled = list(found.items())
        shuffle.shuffle(shuffled)
        assert digests(dict(shuffled)).values == digests(found).values

    @given(versions, ids, st.integers(-1, 9))
    def test_toggling_twice_is_nothing(self, found: dict[RawId, int], point: RawId, version: int) -> None:
        made = digests(found)
        before = list(made.values)
        made.toggle(point, version)
        assert made.values != before
        made.toggle(point, version)
        assert made.values == before

    @given(versions, versions)
    def test_equal_digests_mean_equal_contents(self, one: dict[RawId, int], other: dict[RawId, int]) -> None:
        assert (digests(one).values == digests(other).values) == (one == other)

    def test_two_equal_steps_in_a_bucket_do_not_cancel(self) -> None:
        points = [n.to_bytes(8, "big") for n in range(200)]
        for one, other in pairwise(points):
            before = digests({one: 4, other: 4}, buckets=1)
            after = digests({one: 5, other: 5}, buckets=1)
            assert before.values != after.values

    @given(versions, st.integers(1, 64))
    def test_json(self, found: dict[RawId, int], buckets: int) -> None:
        made = digests(found, buckets)
        assert (
            Digests.of(Checkpoint.from_json(json.loads(json.dumps(made.checkpoint().as_json())))).values
            == made.values
        )

    @pytest.mark.parametrize(
        "damaged",
        [
            {},
            {"buckets": 2},
            {"buckets": 2, "digests": "0" * 16},
            {"buckets": 0, "digests": ""},
            {"buckets": "1", "digests": "0" * 16},
            {"buckets": 1, "digests": "x" * 16},
            {"buckets": 1, "digests": None},
        ],
    )
    def test_damage_is_an_error(self, damaged: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"."):
            Digests.of(Checkpoint.from_json(damaged))


class TestLedger:
    @given(versions, versions, st.lists(ids))
    def test_its_digests_are_those_of_its_contents(
        self, first: dict[RawId, int], then: dict[RawId, int], gone: list[RawId]
    ) -> None:
        ledger = Ledger(MIN_BUCKETS)
        ledger.record(first)
        ledger.record(then)
        ledger.forget(gone)
        expected = {p: v for p, v in {**first, **then}.items() if p not in gone}
        assert ledger.versions == expected
        assert len(ledger) == len(expected)
        assert ledger.digests.values == digests(expected).values

    def test_changed_is_new_or_moved_or_unknown(self) -> None:
        ledger = Ledger(MIN_BUCKETS)
        ledger.record({b"same": 1, b"moved": 1, b"back": 5, b"unknown": -1})
        page = {b"same": 1, b"moved": 2, b"back": 4, b"new": 1, b"unknown": -1}
        assert ledger.changed(page) == {b"moved": 2, b"back": 4, b"new": 1, b"unknown": -1}


class TestRestore:
    @given(copied=versions, now=versions, points=st.integers(0, 20_000))
    def test_after_a_crash_every_difference_is_seen_again(
        self, copied: dict[RawId, int], now: dict[RawId, int], points: int
    ) -> None:
        """`copied` was checkpointed; blue went on to `now`; the process died; a scan shows `now`."""
        before = Ledger(buckets_for(points))
        before.record(copied)
        after = restore(now, before.digests.checkpoint(), points)
        changed = after.changed(now)
        really = {point for point, version in now.items() if copied.get(point) != version}
        assert really <= changed.keys()
        assert changed == {point: now[point] for point in changed}

    @given(copied=versions, now=versions)
    def test_exactly_the_untouched_buckets_are_proven(
        self, copied: dict[RawId, int], now: dict[RawId, int]
    ) -> None:
        before = Ledger(MIN_BUCKETS)
        before.record(copied)
        touched = {before.digests.bucket(p) for p in copied.keys() | now.keys() if copied.get(p) != now.get(p)}
        after = restore(now, before.digests.checkpoint(), 0)
        assert after.versions == {p: v for p, v in now.items() if before.digests.bucket(p) not in touched}
        assert after.changed(now).keys() == {p for p in now if before.digests.bucket(p) in touched}

    @given(copied=versions, now=versions)
    def test_what_was_copied_after_the_checkpoint_is_only_copied_again(
        self, copied: dict[RawId, int], now: dict[RawId, int]
    ) -> None:
        """A checkpoint that is behind proves less, never more."""
        ledger = Ledger(MIN_BUCKETS)
        ledger.record(copied)
        checkpoint = ledger.digests.checkpoint()
        ledger.record(now)
        after = restore(now, checkpoint, 0)
        assert all(copied.get(point) == version for point, version in after.versions.items())

    @given(now=versions)
    def test_nothing_changed_means_nothing_to_do(self, now: dict[RawId, int]) -> None:
        ledger = Ledger(MIN_BUCKETS)
        ledger.record(now)
        after = restore(now, ledger.digests.checkpoint(), 0)
        assert after.versions == now
        assert after.changed(now) == {}
        assert after.digests.values == ledger.digests.values

    def test_unknown_versions_are_never_proven(self) -> None:
        seen = {b"known": 3, b"unknown": -1}
        after = restore(seen, digests(seen, 1).checkpoint(), 0)
        assert after.versions == {b"known": 3}
        assert after.changed(seen) == {b"unknown": -1}

    @pytest.mark.parametrize("checkpoint", [None, {}, {"buckets": 3, "digests": "?"}])
    def test_without_a_readable_checkpoint_everything_is_copied(self, checkpoint: Any) -> None:
        after = restore({b"a": 1}, Checkpoint.proof(checkpoint), 1_000_000)
        assert after.versions == {}
        assert len(after.digests.values) == buckets_for(1_000_000)


@given(st.integers(0, 10**10), st.integers(0, 10**10))
def test_buckets_grow_with_the_collection_within_bounds(one: int, other: int) -> None:
    assert MIN_BUCKETS <= buckets_for(one) <= MAX_BUCKETS
    assert buckets_for(min(one, other)) <= buckets_for(max(one, other))


def test_a_checkpoint_stays_small() -> None:
    assert len(json.dumps(Digests(buckets_for(10**9)).checkpoint().as_json())) < 20_000
