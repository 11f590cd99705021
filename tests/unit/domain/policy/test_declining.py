"""Rollback, breach, abort, retry and edits: an annotation acts once, by a mark that holds for one wish."""

from __future__ import annotations

from dataclasses import replace

import pytest

from teal.domain.actions import Asked
from teal.domain.observed import CollectionState
from teal.domain.plan import Desired, Strategy
from teal.domain.policy import Decision, Do
from teal.domain.policy.actions import OF_STAGE
from teal.domain.schema import Schema
from teal.domain.transitions import Stage
from teal.domain.tuning import Tuning
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
    next_of,
)

WANTED = desired(V2)
TUNED = desired(V2, tuning=Tuning({"hnsw_config": {"m": 32}}))
SERVED = [Stage.WATCHING, Stage.READY]
UNFINISHED = [*WORKING, Stage.PROMOTING]


def green(stage: Stage = Stage.READY, *, replaced: float | None = None) -> CollectionState:
    """What was made of blue by the migration `made-2`."""
    return state(V2, stage, source=BLUE, plan_hash="made", attempt=2, replaced=replaced)


def begun(stage: Stage) -> CollectionState:
    """A green of the present plan, at its third attempt."""
    return state(V2, stage, source=BLUE, attempt=3)


def id_of(decision: Decision) -> str:
    """How annotations name the migration that the decision is part of, at its third attempt."""
    return f"{decision.plan.hash}-3"


class TestRollback:
    RETAINED = state(V1, replaced=NOW)

    def asked(self, *states: CollectionState, rollback: str = "made-2", wanted: Schema = V2) -> Decision:
        return next_of(desired(wanted, asked=Asked(rollback=rollback)), *states, alias=GREEN)

    @pytest.mark.parametrize("stage", SERVED)
    def test_the_annotation_becomes_a_mark_on_what_served_before(self, stage: Stage) -> None:
        decision = self.asked(self.RETAINED, green(stage))
        assert (*does(decision), decision.rule) == (Do.DECLINE, BLUE, "decline_rolled_back")
        assert decision.declined
        assert (decision.declined.wish, decision.declined.id) == (WANTED.wish, "made-2")
        assert (decision.declined.reason, decision.declined.lifted) == ("RolledBack", False)

    @pytest.mark.parametrize("stale", ["made-1", "made-3", "other-2", ""])
    def test_one_that_names_something_else_does_nothing(self, stale: str) -> None:
        assert does(self.asked(self.RETAINED, green(), rollback=stale)) == (Do.REST, GREEN)

    def test_there_is_nothing_to_go_back_to(self) -> None:
        assert does(self.asked(green())) == (Do.REST, GREEN)
        unfinished = state(V1, Stage.POPULATING)
        assert does(self.asked(unfinished, green())) == (Do.DROP_ABANDONED, BLUE)

    def test_the_spec_asks_for_something_else_by_now(self) -> None:
        assert does(self.asked(self.RETAINED, green(), wanted=V1)) == (Do.ROLL_BACK, BLUE)
        assert does(self.asked(self.RETAINED, green(), wanted=V3)) == (Do.PROVISION, THIRD)

    @pytest.mark.parametrize("stage", SERVED)
    @pytest.mark.parametrize("back", [Stage.READY, Stage.ROLLING_BACK])
    def test_the_mark_leads_back(self, back: Stage, stage: Stage) -> None:
        """By the annotation or by a breach: the mark is the same, and so is the way, also after a crash."""
        retained = declining(state(V1, back, replaced=NOW), WANTED)
        decision = next_of(WANTED, retained, green(stage), alias=GREEN)
        assert (*does(decision), decision.rule) == (Do.ROLL_BACK, BLUE, "roll_back_declined")
        assert (decision.plan.strategy, decision.plan.source) == (Strategy.ROLLBACK, GREEN)
        assert decision.plan.schema.schema_version == "v1"
        assert decision.declined == retained.marks.declined

    def test_not_once_it_was_lifted(self) -> None:
        retained = declining(self.RETAINED, WANTED, lifted=True)
        assert does(next_of(WANTED, retained, green(), alias=GREEN)) == (Do.REST, GREEN)

    def test_not_if_the_spec_was_edited_between_the_decline_and_the_way_back(self) -> None:
        """Whoever edits has seen to it: what is asked for now was never declined."""
        retained = declining(self.RETAINED, WANTED)
        assert does(next_of(TUNED, retained, green(), alias=GREEN)) == (Do.APPLY_IN_PLACE, GREEN)
        assert does(next_of(V3, retained, green(), alias=GREEN)) == (Do.PROVISION, THIRD)


class TestAbort:
    def asked(self, *states: CollectionState, abort: str, alias: str | None = BLUE) -> Decision:
        return next_of(desired(V2, asked=Asked(abort=abort)), *states, alias=alias)

    @pytest.mark.parametrize("stage", UNFINISHED)
    def test_a_migration(self, stage: Stage) -> None:
        under_way = next_of(V2, state(V1), begun(stage), alias=BLUE)
        decision = self.asked(state(V1), begun(stage), abort=id_of(under_way))
        assert (*does(decision), decision.rule) == (Do.DECLINE, BLUE, "decline_aborted")
        assert decision.declined
        assert decision.declined.id == id_of(under_way)
        assert (decision.declined.wish, decision.declined.reason) == (WANTED.wish, "Aborted")

    @pytest.mark.parametrize("stage", UNFINISHED)
    def test_one_that_names_an_earlier_attempt_does_nothing(self, stage: Stage) -> None:
        under_way = next_of(V2, state(V1), begun(stage), alias=BLUE)
        decision = self.asked(state(V1), begun(stage), abort=f"{under_way.plan.hash}-2")
        assert does(decision) == (OF_STAGE[stage], GREEN)

    def test_what_has_cut_over_is_rolled_back_not_aborted(self) -> None:
        for stage, do in ((Stage.WATCHING, Do.WATCH), (Stage.READY, Do.REST)):
            found = state(V1, replaced=NOW), green(stage)
            assert does(self.asked(*found, abort="made-2", alias=GREEN)) == (do, GREEN)

    @pytest.mark.parametrize("stage", UNFINISHED)
    def test_the_first_revision(self, stage: Stage) -> None:
        """Nothing serves that could carry the mark, so green is held; once it is, that is all."""
        first = state(V2, stage, attempt=3)
        named = id_of(next_of(V2, first))
        held = stage is Stage.HELD
        decision = self.asked(first, abort=named, alias=None)
        assert does(decision) == (Do.WAIT_HELD if held else Do.ABORT_FIRST, GREEN)
        assert does(self.asked(first, abort="stale-3", alias=None)) == (OF_STAGE[stage], GREEN)

    def test_a_return_to_a_retained_revision(self) -> None:
        back = state(V2, Stage.ROLLING_BACK, replaced=NOW, source=BLUE, plan_hash="back", attempt=3)
        decision = self.asked(back, state(V1), abort="back-3")
        assert (*does(decision), decision.rule) == (Do.DECLINE, BLUE, "decline_aborted_rollback")
        assert decision.declined
        assert decision.declined.id == "back-3"
        assert does(self.asked(back, state(V1), abort="back-2")) == (Do.ROLL_BACK, GREEN)

    def test_once_it_was_lifted_the_annotation_has_acted(self) -> None:
        """It may stay where it is, beside that which asks for another try."""
        under_way = next_of(V2, state(V1), begun(Stage.INDEXING), alias=BLUE)
        acted = self.asked(state(V1), begun(Stage.INDEXING), abort=id_of(under_way)).declined
        assert acted
        lifted = replace(state(V1), marks=replace(state(V1).marks, declined=replace(acted, lifted=True)))
        assert does(self.asked(lifted, begun(Stage.INDEXING), abort=acted.id)) == (Do.INDEX, GREEN)
        back = state(V2, Stage.ROLLING_BACK, replaced=NOW, source=BLUE, plan_hash=acted.plan_hash, attempt=3)
        assert does(self.asked(back, lifted, abort=acted.id)) == (Do.ROLL_BACK, GREEN)

    @pytest.mark.parametrize("stage", SERVED)
    def test_an_old_annotation_does_not_stop_a_later_return(self, stage: Stage) -> None:
        """It was about the migration that made what is retained now, and is over."""
        found = green(stage, replaced=NOW), state(V1)
        assert does(self.asked(*found, abort="made-2")) == (Do.ROLL_BACK, GREEN)


class TestWhileADeclineStands:
    """The alias is on blue, the spec asks for green, and blue carries the mark."""

    STAYING = declining(state(V1), WANTED)

    def next_of(self, *states: CollectionState, wanted: Schema | Desired = WANTED) -> Decision:
        return next_of(wanted, *states, alias=BLUE)

    def test_it_stays(self) -> None:
        decision = self.next_of(self.STAYING)
        assert does(decision) == (Do.STAY, BLUE)
        assert decision.plan.source == BLUE
        assert decision.declined == self.STAYING.marks.declined

    @pytest.mark.parametrize("stage", UNFINISHED)
    def test_the_green_that_was_given_up_goes(self, stage: Stage) -> None:
        decision = self.next_of(self.STAYING, begun(stage))
        assert does(decision) == (Do.DROP_ABANDONED, GREEN)

    @pytest.mark.parametrize("stage", SERVED)
    def test_the_green_that_served_learns_that_it_no_longer_does(self, stage: Stage) -> None:
        """Else it would never be retired."""
        assert does(self.next_of(self.STAYING, green(stage))) == (Do.STAMP_REPLACED, GREEN)

    def test_and_is_retained_and_retired(self) -> None:
        kept = desired(V2, keep_for=DAY)
        for age, expected in ((DAY - 1, (Do.STAY, BLUE)), (DAY, (Do.RETIRE, GREEN))):
            found = self.STAYING, green(replaced=NOW - age)
            assert does(self.next_of(*found, wanted=kept)) == expected

    def test_what_serves_is_not_tuned_for_what_it_is_not(self) -> None:
        staying = declining(state(V1), TUNED)
        assert does(self.next_of(staying, wanted=TUNED)) == (Do.STAY, BLUE)

    @pytest.mark.parametrize("wanted", [V1, V3, TUNED])
    def test_it_ends_with_the_wish(self, wanted: Schema | Desired) -> None:
        """Also by wanting what serves: should green be wanted once more, then that is another wish."""
        decision = self.next_of(self.STAYING, wanted=wanted)
        assert (*does(decision), decision.rule) == (Do.LIFT_DECLINE, BLUE, "lift_outdated")
        assert decision.declined is None

    @pytest.mark.parametrize(("wanted", "expected"), [(V1, Do.REST), (V2, Do.PROVISION), (V3, Do.PROVISION)])
    def test_once_lifted_it_is_history(self, wanted: Schema | Desired, expected: Do) -> None:
        lifted = declining(state(V1), WANTED, lifted=True)
        assert self.next_of(lifted, wanted=wanted).do is expected

    def test_retry_lifts_it(self) -> None:
        decision = self.next_of(self.STAYING, wanted=desired(V2, asked=Asked(retry="tried-1")))
        assert (*does(decision), decision.rule) == (Do.LIFT_DECLINE, BLUE, "lift_retried")
        assert decision.declined == self.STAYING.marks.declined

    @pytest.mark.parametrize("stale", ["tried-2", "other-1", ""])
    def test_a_stale_retry_does_not(self, stale: str) -> None:
        assert does(self.next_of(self.STAYING, wanted=desired(V2, asked=Asked(retry=stale)))) == (Do.STAY, BLUE)

    def test_then_the_way_goes_by_what_is_retained(self) -> None:
        lifted = declining(state(V1), WANTED, lifted=True)
        assert does(self.next_of(lifted, green(replaced=NOW))) == (Do.ROLL_BACK, GREEN)


class TestRetryOfWhatIsHeld:
    def asked(self, stage: Stage, attempt: int) -> Decision:
        found = state(V1), begun(stage)
        plan = next_of(V2, *found, alias=BLUE).plan
        return next_of(desired(V2, asked=Asked(retry=f"{plan.hash}-{attempt}")), *found, alias=BLUE)

    def test_it_begins_again(self) -> None:
        assert does(self.asked(Stage.HELD, 3)) == (Do.RETRY, GREEN)

    def test_an_earlier_attempt_is_not_meant(self) -> None:
        assert does(self.asked(Stage.HELD, 2)) == (Do.WAIT_HELD, GREEN)

    @pytest.mark.parametrize("stage", sorted({*UNFINISHED} - {Stage.HELD}))
    def test_what_is_not_held_goes_on(self, stage: Stage) -> None:
        assert does(self.asked(stage, 3)) == (OF_STAGE[stage], GREEN)


class TestEditsOnTheWay:
    @pytest.mark.parametrize("source", [True, False])
    @pytest.mark.parametrize("stage", UNFINISHED)
    def test_of_what_decides_the_points(self, stage: Stage, source: bool) -> None:
        """Green is made again."""
        edited = state(V2, stage, source=BLUE if source else None, data_hash="before", points=0)
        found = (state(V1), edited) if source else (edited,)
        decision = next_of(V2, *found, alias=BLUE if source else None)
        assert (*does(decision), decision.rule) == (Do.DROP_ABANDONED, GREEN, "drop_outdated")

    @pytest.mark.parametrize("source", [True, False])
    @pytest.mark.parametrize("stage", UNFINISHED)
    def test_of_settings(self, stage: Stage, source: bool) -> None:
        """Its points stay, and so they do when what was asked for meanwhile is out of date with the plan."""
        blue = (state(V1),) if source else ()
        alias = BLUE if source else None
        plan = next_of(V2, *blue, alias=alias).plan
        edited = state(V2, stage, source=alias, plan_hash="before", data_hash=plan.data_hash)
        for asked in (Asked(), Asked(promote="before", retry="before-1")):
            decision = next_of(desired(V2, asked=asked), *blue, edited, alias=alias)
            assert (*does(decision), decision.plan.hash) == (Do.RETUNE, GREEN, plan.hash)

    @pytest.mark.parametrize(("stage", "do"), [(Stage.WATCHING, Do.WATCH), (Stage.READY, Do.REST)])
    def test_after_the_cut_over_the_plan_is_history(self, stage: Stage, do: Do) -> None:
        assert does(next_of(V2, state(V1, replaced=NOW), green(stage), alias=GREEN)) == (do, GREEN)
