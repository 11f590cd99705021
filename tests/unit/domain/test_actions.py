"""An annotation acts on what it names, never twice, and is refused with a reason when that is not there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teal.domain.actions import Asked, Situation, refusals

IDLE = Situation(serving="aaa-1", past=("aaa-1",))
UNDER_WAY = Situation(plan_hash="bbb", under_way="bbb-2", serving="aaa-1", past=("aaa-1",))
HELD = replace(UNDER_WAY, stopped="bbb-2")
CUT_OVER = Situation(serving="bbb-2", can_roll_back=True, past=("aaa-1", "bbb-2"))
DECLINED = Situation(serving="aaa-1", stopped="bbb-2", past=("aaa-1", "bbb-2"))

ACTS = [
    (UNDER_WAY, "promote", "bbb"),
    (UNDER_WAY, "abort", "bbb-2"),
    (HELD, "abort", "bbb-2"),
    (HELD, "retry", "bbb-2"),
    (DECLINED, "retry", "bbb-2"),
    (CUT_OVER, "rollback", "bbb-2"),
]
DONE = [
    (CUT_OVER, "promote", "bbb"),
    (DECLINED, "abort", "bbb-2"),
    (DECLINED, "rollback", "bbb-2"),
    (UNDER_WAY, "retry", "bbb-1"),
    (UNDER_WAY, "abort", "bbb-1"),
    (CUT_OVER, "retry", "bbb-1"),
    (CUT_OVER, "rollback", "aaa-1"),
    (UNDER_WAY, "promote", "aaa"),
]
STALE = [
    (UNDER_WAY, "promote", "ccc", "the plan is now bbb"),
    (IDLE, "promote", "ccc", "no migration waits for approval"),
    (UNDER_WAY, "abort", "ccc-1", "the migration under way is bbb-2"),
    (UNDER_WAY, "abort", "bbb-3", "the migration under way is bbb-2"),
    (IDLE, "abort", "ccc-1", "no migration is under way"),
    (CUT_OVER, "abort", "bbb-2", "it has cut over already. To roll back, annotate teal.dev/rollback=bbb-2"),
    (UNDER_WAY, "retry", "bbb-2", "no migration is held"),
    (HELD, "retry", "ccc-1", "the migration that is stopped is bbb-2"),
    (UNDER_WAY, "rollback", "bbb-2", "it has not cut over yet. To stop it, annotate teal.dev/abort=bbb-2"),
    (CUT_OVER, "rollback", "ccc-1", "the serving collection was made by migration bbb-2"),
    (replace(CUT_OVER, can_roll_back=False), "rollback", "bbb-2", "does not exist any more"),
    (Situation(), "rollback", "ccc-1", "there is nothing to roll back"),
    (UNDER_WAY, "abort", "nonsense", "the migration under way is bbb-2"),
]


@pytest.mark.parametrize(("now", "action", "value"), [*ACTS, *DONE])
def test_what_acts_or_has_acted_is_not_refused(now: Situation, action: str, value: str) -> None:
    assert refusals(Asked(**{action: value}), now) == []


@pytest.mark.parametrize(("now", "action", "value", "why"), STALE)
def test_what_is_stale_is_refused_with_a_reason(now: Situation, action: str, value: str, why: str) -> None:
    (refusal,) = refusals(Asked(**{action: value}), now)
    assert (refusal.annotation, refusal.value) == (f"teal.dev/{action}", value)
    assert why in refusal.why


def test_annotations_are_read_from_the_object_and_others_passed_over() -> None:
    found = Asked.read({"teal.dev/retry": "a-1", "teal.dev/abort": "", "other/promote": "x"})
    assert found == Asked(retry="a-1")


names = st.sampled_from(["aaa-1", "bbb-1", "bbb-2", "bbb-3", "nonsense", "bbb-x", "-", ""])
past = st.lists(names, max_size=3).map(tuple)
maybe = st.none() | st.sampled_from(["aaa-1", "bbb-1", "bbb-2", "bbb-3"])
situations = st.builds(
    Situation,
    st.none() | st.just("bbb"),
    maybe,
    maybe,
    st.booleans(),
    maybe,
    st.lists(names, max_size=3).map(tuple),
)


@given(st.sampled_from(["promote", "abort", "retry", "rollback"]), names, situations)
def test_every_refusal_says_what_and_why(action: str, value: str, now: Situation) -> None:
    for refusal in refusals(Asked(**{action: value}), now):
        assert refusal.action == action
        assert refusal.why.endswith(".")
        assert value in str(refusal)
