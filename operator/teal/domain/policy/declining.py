"""Rules about migrations that somebody, or the watch, declined. The decline is a mark on the collection that keeps
serving, or is to serve again.

An annotation acts once: it causes that mark. The mark holds as long as the spec asks for the same.
"""

from __future__ import annotations

from teal.domain.marks import Declined
from teal.domain.observed import CollectionState
from teal.domain.ownership import has_served
from teal.domain.plan import Plan, Strategy, as_it_was, make_plan
from teal.domain.policy.actions import Decision, Do
from teal.domain.policy.migrating import rollback_plan
from teal.domain.policy.view import View, retained_source
from teal.domain.transitions import Stage


def roll_back_declined(view: View) -> Decision | None:
    """The serving revision was declined, and the spec still asks for it: roll back to the collection before it."""
    back = _back(view)
    declined = back.marks.declined if back else None
    if back is None or declined is None or declined.lifted or declined.wish != view.desired.wish:
        return None
    past = as_it_was(view.desired, back)
    plan = make_plan(past, view.serving, target=back.name, strategy=Strategy.ROLLBACK)
    return Decision(Do.ROLL_BACK, plan, back.name, declined=declined)


def decline_rolled_back(view: View) -> Decision | None:
    """`teal.dev/rollback` names the migration that made what serves."""
    back, serving = _back(view), view.serving
    migration = serving.marks.migration if serving else None
    if back is None or serving is None or migration is None or not has_served(serving):
        return None
    if view.desired.asked.rollback != migration.id:
        return None
    why = f"{serving.name} was rolled back by the annotation teal.dev/rollback={migration.id}."
    declined = Declined(
        view.desired.wish, migration.plan_hash, migration.attempt, "RolledBack", why, view.now
    )  # fmt: skip
    return Decision(Do.DECLINE, view.nothing, back.name, declined=declined)


def _back(view: View) -> CollectionState | None:
    """The retained collection that the serving one replaced, if the serving one is the declared revision."""
    if view.serving is None or not view.serves_declared:
        return None
    return retained_source(view.mine, view.serving)


def lift_outdated(view: View) -> Decision | None:
    """The spec no longer asks for what was declined. If it does so again later, that is a new request."""
    declined = view.serving.marks.declined if view.serving else None
    if view.serving is None or declined is None or declined.lifted:
        return None
    if declined.wish == view.desired.wish and not view.serves_declared:
        return None
    return Decision(Do.LIFT_DECLINE, view.nothing, view.serving.name)


def lift_retried(view: View) -> Decision | None:
    """`teal.dev/retry` names what was declined."""
    if view.serving is None or view.declined is None or view.desired.asked.retry != view.declined.id:
        return None
    return Decision(Do.LIFT_DECLINE, view.nothing, view.serving.name, declined=view.declined)


def decline_aborted_rollback(view: View) -> Decision | None:
    """`teal.dev/abort` names the rollback to a retained revision that is under way."""
    rollback = rollback_plan(view)
    return _aborted(view, *rollback) if rollback else None


def decline_aborted(view: View) -> Decision | None:
    """`teal.dev/abort` names the migration that is under way."""
    return _aborted(view, view.plan, view.green) if view.blue else None


def _aborted(view: View, plan: Plan, target: CollectionState | None) -> Decision | None:
    migration = target.marks.migration if target else None
    if migration is None or plan.source is None or view.desired.asked.abort != migration.id:
        return None
    if migration.stage in (Stage.WATCHING, Stage.READY):
        return None
    acted = view.serving.marks.declined if view.serving else None
    if acted and acted.lifted and acted.id == migration.id:
        return None
    why = f"The migration to {plan.target} was stopped by the annotation teal.dev/abort={migration.id}."
    declined = Declined(view.desired.wish, migration.plan_hash, migration.attempt, "Aborted", why, view.now)
    return Decision(Do.DECLINE, plan, plan.source, declined=declined)
