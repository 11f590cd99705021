"""When a collection is at rest: by the count of operations from barrier to barrier, and by nothing less."""

from __future__ import annotations

from dataclasses import replace

import pytest

from teal.domain.epoch import Epoch, Replica
from teal.domain.rest import Numbers, others_operations, stood_still, why_not_at_rest

EPOCH = Epoch("", (Replica(0, 1), Replica(0, 2), Replica(1, 1)), ((1, "a"), (2, "b")), commit=10, own_commits=4)
BEFORE = Numbers({(1, 0): 7, (2, 0): 17, (1, 1): 3}, barriers=1, epoch=EPOCH)


def risen(by: int, **more: object) -> Numbers:
    """All replicas have risen by this much, across two barriers."""
    numbers = {replica: number + by for replica, number in BEFORE.op_nums.items()}
    return replace(BEFORE, **{"op_nums": numbers, "barriers": 3, **more})


def test_a_rise_by_the_barriers_alone_proves_rest() -> None:
    assert why_not_at_rest(BEFORE, risen(2)) is None


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        pytest.param(None, risen(2), "does not tell op_num", id="nothing told before"),
        pytest.param(BEFORE, None, "does not tell op_num", id="nothing told after"),
        pytest.param(BEFORE, risen(3), "up to 1 operations", id="another operation everywhere"),
        pytest.param(
            BEFORE,
            risen(2, op_nums={(1, 0): 9, (2, 0): 20, (1, 1): 5}),
            "up to 1 operations",
            id="another operation on one replica",
        ),
        pytest.param(BEFORE, risen(1), "less than the barriers", id="a replica that stepped back"),
        pytest.param(BEFORE, BEFORE, "no barrier", id="equal numbers without a barrier"),
        pytest.param(BEFORE, risen(2, unsure=1), "refused or not answered", id="a barrier that may have passed"),
        pytest.param(
            BEFORE, risen(2, missing=("peer 3 is silent",)), "peer 3 is silent", id="a peer that does not tell"
        ),
        pytest.param(BEFORE, risen(2, epoch=None), "could not be read", id="no epoch"),
        pytest.param(
            BEFORE,
            risen(2, epoch=replace(EPOCH, starts=((1, "a"), (2, "c")))),
            "started again",
            id="a peer that restarted",
        ),
        pytest.param(
            BEFORE, risen(2, epoch=replace(EPOCH, commit=11)), "consensus has moved", id="somebody moved a replica"
        ),
        pytest.param(
            BEFORE, risen(2, op_nums={(1, 0): 9, (1, 1): 5}), "are not the same", id="a replica that is gone"
        ),
        pytest.param(
            replace(BEFORE, op_nums={}), risen(2, op_nums={}), "are not the same", id="no replica at all"
        ),
    ],
)
def test_anything_else_proves_nothing(before: Numbers | None, after: Numbers | None, why: str) -> None:
    told = why_not_at_rest(before, after)
    assert told is not None
    assert why in told


def test_teals_own_decisions_do_not_end_the_epoch() -> None:
    assert why_not_at_rest(BEFORE, risen(2, epoch=replace(EPOCH, commit=15, own_commits=9))) is None


def test_the_replica_with_the_most_says_how_many_operations_there_were() -> None:
    assert others_operations(BEFORE, risen(2, op_nums={(1, 0): 9, (2, 0): 24, (1, 1): 6})) == 5
    assert others_operations(BEFORE, risen(2)) == 0


@pytest.mark.parametrize(
    ("after", "still"),
    [
        (BEFORE, True),
        (replace(BEFORE, queued=1), False),
        (risen(1), False),
        (None, False),
    ],
)
def test_standing_still_is_what_can_be_seen_without_a_barrier(after: Numbers | None, still: bool) -> None:
    assert stood_still(BEFORE, after) is still
