"""Versions are compared only where nothing can have given a point another number behind Teal's back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from teal.domain.epoch import Epoch, Floors, Replica, Scan, comparable

EPOCH = Epoch(
    instance="a1",
    replicas=(Replica(0, 11), Replica(0, 12), Replica(1, 12), Replica(1, 13)),
    starts=((11, "08:00"), (12, "08:01"), (13, "08:02")),
    commit=40,
    own_commits=3,
)
FLOORS = Floors(5, 9)


def test_nothing_has_changed() -> None:
    assert EPOCH.same_as(EPOCH)
    assert EPOCH.ended_by(EPOCH) is None


def test_the_order_in_which_replicas_and_peers_are_listed_means_nothing() -> None:
    assert EPOCH.same_as(replace(EPOCH, replicas=EPOCH.replicas[::-1], starts=EPOCH.starts[::-1]))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"instance": "b2"}, "created anew"),
        ({"replicas": EPOCH.replicas[:-1]}, "replicas"),
        ({"replicas": (*EPOCH.replicas[:-1], Replica(1, 11))}, "replicas"),
        ({"replicas": (*EPOCH.replicas[:-1], Replica(1, 13, "Dead"))}, "states"),
        ({"starts": (*EPOCH.starts[:-1], (13, "09:30"))}, "started again"),
        ({"starts": EPOCH.starts[:-1]}, "started again"),
        ({"commit": 41}, "consensus"),
        ({"commit": None}, "consensus"),
        ({"own_commits": 4}, "consensus"),
        ({"fan_out": True}, "fan out"),
        ({"pinned": False}, "pinned"),
    ],
)
def test_what_ends_it(change: dict[str, Any], why: str) -> None:
    later = replace(EPOCH, **change)
    assert why in (EPOCH.ended_by(later) or "")
    assert why in (later.ended_by(EPOCH) or "")
    assert not EPOCH.same_as(later)


def test_own_operations_of_the_consensus_do_not_end_it() -> None:
    assert EPOCH.same_as(replace(EPOCH, commit=43, own_commits=6))


def test_a_note_of_this_process_is_known_again_until_somebody_else_decides() -> None:
    counted = replace(EPOCH, counted_by="me")
    note = counted.noted(own=2)
    assert replace(counted, commit=42, own_commits=5).is_noted_as(note)
    assert replace(counted, commit=47, own_commits=10).is_noted_as(note)
    assert not replace(counted, commit=48, own_commits=10).is_noted_as(note)


def test_what_its_reader_has_decided_itself_does_not_end_the_epoch_of_another_process() -> None:
    note = replace(EPOCH, counted_by="predecessor").noted(own=2)
    reader = replace(EPOCH, counted_by="successor", commit=42, own_commits=0)
    assert reader.is_noted_as(note)
    assert replace(reader, commit=45, own_commits=3).is_noted_as(note)
    assert not replace(reader, commit=43).is_noted_as(note)
    assert not replace(reader, commit=45, own_commits=2).is_noted_as(note)


def test_operations_before_its_own_note_hide_nobody_elses() -> None:
    """As many as those of others since: only the count tells them apart."""
    counted = replace(EPOCH, counted_by="me", commit=40, own_commits=3)
    assert not replace(counted, commit=43).is_noted_as(counted.noted())


@pytest.mark.parametrize("note", ["", "/", "//", "not/a/note", "not a note"])
@pytest.mark.parametrize("commit", [None, 40])
def test_what_is_no_note_is_no_epoch(note: str, commit: int | None) -> None:
    assert not replace(EPOCH, commit=commit).is_noted_as(note)


def test_on_a_single_node_a_note_holds_as_long_as_the_circumstances() -> None:
    alone = replace(EPOCH, commit=None, own_commits=0)
    assert replace(alone, counted_by="successor").is_noted_as(alone.noted(own=1))
    assert not replace(alone, starts=()).is_noted_as(alone.noted())


@pytest.mark.parametrize("change", [{"fan_out": True}, {"pinned": False}, {"replicas": ()}])
def test_what_never_begins_one(change: dict[str, Any]) -> None:
    """Even though nothing changes between the two readings."""
    epoch = replace(EPOCH, **change)
    assert not epoch.same_as(epoch)


def test_one_replica_a_shard_needs_no_pin() -> None:
    epoch = replace(EPOCH, replicas=(Replica(0, 11), Replica(1, 12)), pinned=False)
    assert epoch.same_as(epoch)


def test_a_single_node_has_no_consensus() -> None:
    epoch = Epoch("a1", (Replica(0, 0),), ((0, "08:00"),))
    assert epoch.same_as(epoch)


def test_a_replica_that_stays_dead_answers_nobody() -> None:
    epoch = replace(EPOCH, replicas=(*EPOCH.replicas[:-1], Replica(1, 13, "Dead")))
    assert epoch.same_as(epoch)


def test_floors_are_those_of_the_lowest_and_the_highest_shard() -> None:
    assert Floors.of([7, 3, 9]) == Floors(3, 9)
    assert Floors.of([4]) == Floors(4, 4)
    with pytest.raises(ValueError, match="shard"):
        Floors.of([])


ENDED = replace(EPOCH, instance="b2")


@pytest.mark.parametrize(
    ("before", "after", "epoch"),
    [(EPOCH, EPOCH, EPOCH), (EPOCH, ENDED, None), (None, EPOCH, None), (EPOCH, None, None)],
)
def test_a_scan_has_an_epoch_only_if_it_lasted(
    before: Epoch | None, after: Epoch | None, epoch: Epoch | None
) -> None:
    assert Scan.between(before, FLOORS, after) == Scan(FLOORS, epoch)


@pytest.mark.parametrize(
    ("previous", "current", "floors"),
    [
        (Scan(FLOORS, EPOCH), EPOCH, FLOORS),
        (Scan(FLOORS, EPOCH), ENDED, None),
        (Scan(FLOORS, EPOCH), None, None),
        (Scan(FLOORS, None), EPOCH, None),
        (None, EPOCH, None),
    ],
)
def test_versions_of_two_scans_are_comparable_within_an_epoch(
    previous: Scan | None, current: Epoch | None, floors: Floors | None
) -> None:
    assert comparable(previous, Scan(Floors(6, 12), current)) == floors
