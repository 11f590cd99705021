"""The registry of actions: for each action, the step that carries it out and how status shows it.

The policy (`domain/policy`) names an action; its row says which step carries it out, in which phase a resource is
meanwhile, whether the step may hold writers back, and whether it rests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from teal.domain.policy import Decision, Do
from teal.domain.transitions import Stage
from teal.migration.steps import (
    adopt,
    await_promotion,
    catch_up,
    decline,
    in_place,
    index,
    keep_in_step,
    populate,
    promote,
    provision,
    repair,
    rest,
    retire,
    roll_back,
    stages,
    verify,
    watch,
)
from teal.migration.steps.stages import Step, staged

OF_SUBJECT = "the stage of the subject"


def _nobody(_: Decision) -> None:
    return None


def _of_source(decision: Decision) -> str | None:
    return decision.plan.source


def _of_subject(decision: Decision) -> str | None:
    return decision.subject


@dataclass(frozen=True)
class Action:
    """One row.

    `phase` is what status shows meanwhile: `None` for an action that has no phase of its own, `OF_SUBJECT` for the
    stage of the subject. `holds_writers`: the collection whose writers it may hold back by a fence; `None` where
    there is none. `shows`: status is written right after it, before the next action. `as_declared`: the
    serving collection is as declared meanwhile; `tidies`: it is so even if the step fails with a transient error.
    """

    run: Step
    phase: str | None = None
    holds_writers: Callable[[Decision], str | None] = _nobody
    rests: bool = False
    shows: bool = False
    as_declared: bool = False
    tidies: bool = False


REGISTRY: Mapping[Do, Action] = {
    Do.REST: Action(rest.run, "Ready", rests=True, as_declared=True),
    Do.STAY: Action(rest.run, Stage.HELD, rests=True),
    Do.WAIT_HELD: Action(rest.run, Stage.HELD, rests=True),
    Do.KEEP_IN_STEP: Action(keep_in_step.run),
    Do.LIFT_FENCE: Action(repair.lift_left_fence),
    Do.ADOPT: Action(adopt.adopt),
    Do.CLAIM: Action(adopt.claim),
    Do.RESTORE_ALIAS: Action(repair.restore_alias),
    Do.FINISH_CUTOVER: Action(repair.finish_cutover, OF_SUBJECT),
    Do.STAMP_REPLACED: Action(repair.stamp_replaced, as_declared=True, tidies=True),
    Do.SET_ALIASES: Action(repair.set_aliases, as_declared=True, tidies=True),
    Do.PROVISION: Action(provision.run, Stage.PROVISIONING, shows=True),
    Do.POPULATE: Action(staged(populate.run), Stage.POPULATING),
    Do.CATCH_UP: Action(staged(catch_up.run), Stage.CATCHING_UP),
    Do.INDEX: Action(staged(index.run), Stage.INDEXING),
    Do.VERIFY: Action(staged(verify.run), Stage.VERIFYING),
    Do.AWAIT_PROMOTION: Action(staged(await_promotion.run), Stage.AWAITING_PROMOTION),
    Do.PROMOTE: Action(staged(promote.run), Stage.PROMOTING, holds_writers=_of_source),
    Do.WATCH: Action(staged(watch.run), Stage.WATCHING, as_declared=True),
    Do.RETUNE: Action(stages.retune, OF_SUBJECT),
    Do.RETRY: Action(stages.retry, Stage.HELD),
    Do.ABORT_FIRST: Action(stages.abort_first, OF_SUBJECT),
    Do.ROLL_BACK: Action(roll_back.run, Stage.ROLLING_BACK, holds_writers=_of_source, shows=True),
    Do.DECLINE: Action(decline.run),
    Do.LIFT_DECLINE: Action(decline.lift, as_declared=True, tidies=True),
    Do.APPLY_IN_PLACE: Action(in_place.run),
    Do.DROP_ABANDONED: Action(repair.drop_abandoned, as_declared=True, tidies=True),
    Do.RETIRE: Action(retire.run, holds_writers=_of_subject, as_declared=True, tidies=True),
}


def may_hold_writers(decision: Decision) -> bool:
    """Whether the next step may hold the writers of some collection back."""
    return REGISTRY[decision.do].holds_writers(decision) is not None
