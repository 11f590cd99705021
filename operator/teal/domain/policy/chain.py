"""The policy: an ordered chain of rules. The first rule that applies names the next thing to do.

`decide` is a pure function without memory, so the same inputs give the same answer on any machine, before and
after a crash. The order of the rows is the policy, and each row says why it stands where it stands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from teal.domain.observed import Observed
from teal.domain.plan import Desired
from teal.domain.policy import declining, due_rounds, guards, migrating, repairs, tidying
from teal.domain.policy.actions import Decision
from teal.domain.policy.view import Rounds, View


@dataclass(frozen=True)
class Rule:
    """One row: a check of the view, and why it stands here. `None` leaves the decision to the next row."""

    check: Callable[[View], Decision | None]
    why: str

    @property
    def name(self) -> str:
        return self.check.__name__


RULES = (
    Rule(repairs.lift_left_fence, "A fence left by a crash holds writers back: lifted first, whatever is wrong."),
    Rule(guards.refuse_damaged, "Nothing is decided from marks that cannot be read."),
    Rule(guards.refuse_foreign, "Nothing is done with an alias that belongs to somebody else."),
    Rule(repairs.adopt, "All rules below act only on collections of ours; adopting makes one ours."),
    Rule(repairs.claim, "Our collections carry the present UID before any of them is changed."),
    Rule(repairs.restore_alias, "The alias serves before anything is planned from what it points at."),
    Rule(repairs.finish_cutover, "Else the serving collection would look like an unfinished green."),
    Rule(declining.roll_back_declined, "A declined revision is left before anything is done to it."),
    Rule(declining.decline_rolled_back, "`rollback` asks for it: first write the mark, which survives a crash."),
    Rule(declining.lift_outdated, "A decline ends when the spec asks for something else: it must not stop that."),
    Rule(declining.lift_retried, "`retry` lifts the decline before the rules below obey it."),
    Rule(repairs.stamp_replaced, "Retention and keeping in step begin with the mark `replaced` on the old side."),
    Rule(repairs.set_aliases, "The secondary aliases follow the alias before the serving collection is watched."),
    Rule(guards.refuse_last_copy, "What may be the last copy is kept before a first revision is made."),
    Rule(declining.decline_aborted_rollback, "`abort` stops a rollback before its next step."),
    Rule(migrating.roll_back, "Rolling back to a retained collection is cheaper than making a new one."),
    Rule(guards.refuse_new_collection, "InPlaceOnly forbids all that follows."),
    Rule(declining.decline_aborted, "`abort` stops a migration before its next step."),
    Rule(migrating.drop_superseded, "Greens of earlier plans are dropped first: the new one may need the space."),
    Rule(guards.refuse_foreign_target, "Green needs a name that no collection of somebody else has."),
    Rule(migrating.provision, "There is no green yet."),
    Rule(migrating.drop_outdated, "Green's points are not those of the present plan: it is made again."),
    Rule(migrating.retune, "Only settings were edited: green's points stay, and the edit voids an approval."),
    Rule(migrating.abort_first, "Without a blue to remember the abort on, green remembers it."),
    Rule(migrating.retry, "`retry` names the migration that is held."),
    Rule(migrating.go_on, "The step of the stage that green is in."),
    Rule(tidying.watch, "The watch may still roll back: until it ends, the serving collection is not changed."),
    Rule(tidying.apply_in_place, "The serving collection is made as declared before leftovers are tidied up."),
    Rule(tidying.drop_abandoned, "A green that no plan needs any more is dropped."),
    Rule(tidying.retire, "The last of all changes, because it cannot be undone."),
    Rule(tidying.rest, "Nothing is left to do."),
)  # fmt: skip


def decide(desired: Desired, observed: Observed, now: float, rounds: Rounds | None = None) -> Decision:
    """The next thing to do.

    Args:
        now: seconds since the epoch.
        rounds: when live collections were last in step, for whoever keeps them so; `None` leaves that out.

    Raises:
        TerminalError: nothing may be done until somebody changes something; the message says what.
        TransientError: what was seen does not fit together; look again.
    """
    return decide_on(View(desired, observed, now, rounds))


def decide_on(view: View) -> Decision:
    """`decide`, for whoever goes on looking at the view."""
    for rule in RULES:
        decision = rule.check(view)
        if decision is not None:
            return due_rounds.interleave(view, replace(decision, rule=rule.name))
    raise LookupError("the last rule always decides")
