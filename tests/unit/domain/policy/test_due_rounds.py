"""When live collections are brought in step: beside what waits or copies, never within a cut-over."""

from __future__ import annotations

import pytest

from teal.domain.actions import Asked
from teal.domain.observed import CollectionState
from teal.domain.policy import Decision, Do, RoundTimes
from teal.domain.policy.actions import OF_STAGE
from teal.domain.schema import Schema
from teal.domain.transitions import Stage
from tests.unit.domain.builders import DAY, NOW, desired, state
from tests.unit.domain.policy.asking import (
    BLUE,
    GREEN,
    THIRD,
    V1,
    V2,
    V3,
    WORKING,
    declining,
    does,
    in_step_with,
    next_of,
    replaced_by,
)

PAIR = (GREEN, BLUE)
OLD = replaced_by(state(V1), GREEN)
NEW = in_step_with(state(V2, source=BLUE), BLUE)
LATER = {PAIR: RoundTimes(last=NOW - 1, due=NOW + 1)}


def beside(decision: Decision) -> tuple[Do, str | None]:
    """What a round goes before."""
    assert decision.do is Do.KEEP_IN_STEP
    assert decision.then
    assert decision.main is decision.then
    assert decision.subject == decision.then.subject
    return does(decision.then)


class TestDue:
    def test_a_pair_that_this_process_has_never_looked_at(self) -> None:
        decision = next_of(V2, OLD, NEW, alias=GREEN, rounds={})
        assert beside(decision) == (Do.REST, GREEN)
        assert (decision.pairs, decision.rule) == ((PAIR,), "interleave")

    def test_by_the_clock(self) -> None:
        for due, expected in ((NOW - 1, Do.KEEP_IN_STEP), (NOW, Do.KEEP_IN_STEP), (NOW + 1, Do.REST)):
            rounds = {PAIR: RoundTimes(last=NOW - 9, due=due)}
            assert next_of(V2, OLD, NEW, alias=GREEN, rounds=rounds).do is expected

    def test_whoever_only_asks_what_is_to_be_done_hears_of_none(self) -> None:
        assert does(next_of(V2, OLD, NEW, alias=GREEN)) == (Do.REST, GREEN)

    def test_two_that_have_never_been_in_step_are_not_kept_so(self) -> None:
        assert does(next_of(V2, OLD, state(V2), alias=GREEN, rounds={})) == (Do.REST, GREEN)

    def test_nor_one_that_something_else_has_replaced(self) -> None:
        assert does(next_of(V2, replaced_by(state(V1), "x"), NEW, alias=GREEN, rounds={})) == (Do.REST, GREEN)


class TestBeside:
    @pytest.mark.parametrize("stage", WORKING)
    def test_a_migration(self, stage: Stage) -> None:
        decision = next_of(V3, OLD, NEW, state(V3, stage), alias=GREEN, rounds={})
        assert beside(decision) == (OF_STAGE[stage], THIRD)
        assert does(next_of(V3, OLD, NEW, state(V3, stage), alias=GREEN, rounds=LATER)) == (
            OF_STAGE[stage],
            THIRD,
        )

    def test_watching(self) -> None:
        new = in_step_with(state(V2, Stage.WATCHING, source=BLUE), BLUE)
        assert beside(next_of(V2, OLD, new, alias=GREEN, rounds={})) == (Do.WATCH, GREEN)

    def test_staying(self) -> None:
        wanted = desired(V3)
        decision = next_of(wanted, OLD, declining(NEW, wanted), alias=GREEN, rounds={})
        assert beside(decision) == (Do.STAY, GREEN)
        assert decision.declined

    @pytest.mark.parametrize(
        ("wanted", "found", "alias", "expected"),
        [
            (V3, (OLD, NEW, state(V3, Stage.PROMOTING)), GREEN, Do.PROMOTE),
            (V1, (OLD, NEW), GREEN, Do.ROLL_BACK),
            (V1, (replaced_by(state(V1, Stage.ROLLING_BACK), GREEN), NEW), GREEN, Do.ROLL_BACK),
            (V2, (OLD, in_step_with(state(V2, Stage.ROLLING_BACK), BLUE)), GREEN, Do.FINISH_CUTOVER),
            (V3, (OLD, NEW), GREEN, Do.PROVISION),
            (V2, (state(V1, fenced=True), NEW), GREEN, Do.LIFT_FENCE),
            (V2, (OLD, NEW), None, Do.RESTORE_ALIAS),
        ],
    )
    def test_never_between_the_steps_of_a_cut_over_nor_before_a_repair(
        self, wanted: Schema, found: tuple[CollectionState, ...], alias: str | None, expected: Do
    ) -> None:
        assert next_of(wanted, *found, alias=alias, rounds={}).do is expected

    def test_nor_before_somebodys_wish(self) -> None:
        found = OLD, NEW, state(V3, Stage.HELD)
        plan = next_of(V3, *found, alias=GREEN).plan
        wanted = desired(V3, asked=Asked(retry=f"{plan.hash}-1"))
        assert next_of(wanted, *found, alias=GREEN, rounds={}).do is Do.RETRY


class TestTheLastRound:
    """A collection goes only once a round has begun after its retention ended."""

    WANTED = desired(V2, keep_for=DAY)
    ENDED = NOW - 5

    def next_of(self, last: float) -> Decision:
        old = replaced_by(state(V1), GREEN, at=self.ENDED - DAY)
        rounds = {PAIR: RoundTimes(last=last, due=NOW + 99)}
        return next_of(self.WANTED, old, NEW, alias=GREEN, rounds=rounds)

    def test_although_none_is_due(self) -> None:
        decision = self.next_of(self.ENDED - 1)
        assert beside(decision) == (Do.RETIRE, BLUE)
        assert decision.pairs == (PAIR,)

    def test_then_it_goes(self) -> None:
        assert does(self.next_of(self.ENDED)) == (Do.RETIRE, BLUE)
        assert does(self.next_of(NOW)) == (Do.RETIRE, BLUE)

    def test_the_last_round_of_another_is_no_matter(self) -> None:
        first = replaced_by(state(V1), GREEN, at=0.0)
        second = in_step_with(replaced_by(state(V2), THIRD), BLUE)
        wanted = desired(V3, keep_for=DAY)
        third = in_step_with(state(V3), GREEN)
        decision = next_of(wanted, first, second, third, alias=THIRD, rounds={})
        assert beside(decision) == (Do.RETIRE, BLUE)
        assert decision.pairs == (PAIR,)


class TestAChainOfThree:
    FIRST = replaced_by(state(V1), GREEN, at=NOW - 9)
    SECOND = in_step_with(replaced_by(state(V2), THIRD), BLUE)
    SERVING = in_step_with(state(V3), GREEN)

    def pairs(self, **rounds: RoundTimes) -> tuple[tuple[str, str], ...]:
        known = {(THIRD, GREEN): rounds.get("upper"), PAIR: rounds.get("lower")}
        given = {pair: times for pair, times in known.items() if times}
        return next_of(V3, self.FIRST, self.SECOND, self.SERVING, alias=THIRD, rounds=given).pairs

    def test_each_with_what_replaced_it_the_newest_first(self) -> None:
        assert self.pairs() == ((THIRD, GREEN), PAIR)

    def test_each_when_it_is_due(self) -> None:
        later = RoundTimes(due=NOW + 1)
        assert self.pairs(upper=later) == (PAIR,)
        assert self.pairs(lower=later) == ((THIRD, GREEN),)
        assert self.pairs(upper=later, lower=later) == ()

    def test_without_the_one_between_the_chain_ends(self) -> None:
        found = self.FIRST, self.SERVING
        assert does(next_of(V3, *found, alias=THIRD, rounds={})) == (Do.REST, THIRD)
