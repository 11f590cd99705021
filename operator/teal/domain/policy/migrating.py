"""Rules of a migration: the declared revision is not the serving one."""

from __future__ import annotations

from teal.domain.observed import CollectionState
from teal.domain.ownership import has_served, stage_of
from teal.domain.plan import Plan, Strategy, make_plan
from teal.domain.policy.actions import OF_STAGE, Decision, Do
from teal.domain.policy.view import View, is_declared_revision
from teal.domain.transitions import Stage


def roll_back(view: View) -> Decision | None:
    """The declared revision is still retained: roll back to it instead of building it again."""
    rollback = rollback_plan(view)
    return Decision(Do.ROLL_BACK, rollback[0], rollback[1].name) if rollback else None


def rollback_plan(view: View) -> tuple[Plan, CollectionState] | None:
    """The plan and the collection to roll back to, where the declared revision is retained."""
    if view.blue is None:
        return None
    target = next(
        (s for s in view.mine.values() if is_declared_revision(view.desired, s) and has_served(s)), None
    )  # fmt: skip
    if target is None:
        return None
    return make_plan(view.desired, view.blue, target=target.name, strategy=Strategy.ROLLBACK), target


def drop_superseded(view: View) -> Decision | None:
    """A green of another plan: ours, and it has never served."""
    if view.settled:
        return None
    keep = {view.desired.target, view.serving.name if view.serving else None}
    for name, state in view.mine.items():
        if name not in keep and not has_served(state):
            return Decision(Do.DROP_ABANDONED, view.plan, name)
    return None


def provision(view: View) -> Decision | None:
    """The planned green does not exist yet."""
    if view.settled or view.green is not None:
        return None
    return Decision(Do.PROVISION, view.plan, view.plan.target)


def drop_outdated(view: View) -> Decision | None:
    """The plan for green's points has changed since green was begun."""
    if view.green is None or view.under_way is None or view.under_way.data_hash == view.plan.data_hash:
        return None
    return Decision(Do.DROP_ABANDONED, view.plan, view.green.name)


def retune(view: View) -> Decision | None:
    """Only settings changed in the plan, not the points."""
    if view.green is None or view.under_way is None or view.under_way.plan_hash == view.plan.hash:
        return None
    return Decision(Do.RETUNE, view.plan, view.green.name)


def abort_first(view: View) -> Decision | None:
    """`teal.dev/abort` names the first revision, which is being made."""
    migration = view.under_way
    if view.green is None or migration is None or view.plan.source is not None:
        return None
    if view.desired.asked.abort != migration.id or migration.stage is Stage.HELD:
        return None
    return Decision(Do.ABORT_FIRST, view.plan, view.green.name)


def retry(view: View) -> Decision | None:
    """`teal.dev/retry` names the migration that is held."""
    migration = view.under_way
    if view.green is None or migration is None or migration.stage is not Stage.HELD:
        return None
    if view.desired.asked.retry != migration.id:
        return None
    return Decision(Do.RETRY, view.plan, view.green.name)


def go_on(view: View) -> Decision | None:
    """Green exists and belongs to the present plan: go on with its stage."""
    if view.green is None:
        return None
    return Decision(OF_STAGE[stage_of(view.green)], view.plan, view.green.name)
