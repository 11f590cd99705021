"""The policy: an ordered chain of rules. The first one that has something to say names the next thing to do.

`decide` asks nobody and keeps nothing, so the same inputs give the same answer on any machine, before and after a
crash. The order of the rows is the policy, and each row says why it stands where it stands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from teal.domain.observed import Observed
from teal.domain.plan import Desired
from teal.domain.policy import declining, guards, in_step, migrating, repairs, tidying
from teal.domain.policy.actions import Decision
from teal.domain.policy.view import Rounds, View


@dataclass(frozen=True)
class Rule:
    """One row: what is asked of the view, and why it is asked there. `None` leaves it to the next row."""

    check: Callable[[View], Decision | None]
    why: str

    @property
    def name(self) -> str:
        return self.check.__name__


RULES = (
    Rule(repairs.lift_fence, "Writers are held back by a fence that nobody holds: first, whatever else is wrong."),
    Rule(guards.refuse_damaged, "Nothing is decided from marks that cannot be read."),
    Rule(guards.refuse_foreign, "Nothing is done through an alias that is somebody else's."),
    Rule(repairs.adopt, "Adopting makes ours what the alias may point at; all that follows needs that."),
    Rule(repairs.claim, "Ours carry the present UID before any of them is changed."),
    Rule(repairs.restore_alias, "The alias serves before anything is planned from what it points at."),
    Rule(repairs.finish_cutover, "Else what serves would pass for a green that never did, and be dropped."),
    Rule(declining.roll_back_declined, "A declined revision is left before anything is done to it."),
    Rule(declining.decline_rolled_back, "Somebody asks for the way back: the mark holds, not the annotation."),
    Rule(declining.lift_outdated, "A decline ends with the wish that it was about, before it stops another."),
    Rule(declining.lift_retried, "`retry` opens the way again before the decline is obeyed."),
    Rule(repairs.stamp_replaced, "Retention and keeping in step begin when the old side knows."),
    Rule(repairs.set_aliases, "The lesser aliases follow the alias before what serves is watched."),
    Rule(guards.refuse_last_copy, "What may be the last copy is kept before a first revision is made."),
    Rule(declining.decline_aborted_return, "`abort` stops a return before its next step."),
    Rule(migrating.roll_back, "A retained collection of the declared revision is cheaper than any new one."),
    Rule(guards.refuse_new_collection, "InPlaceOnly forbids all that follows."),
    Rule(declining.decline_aborted, "`abort` stops a migration before its next step."),
    Rule(migrating.drop_superseded, "Greens of earlier plans go first: the new one may need the room."),
    Rule(guards.refuse_foreign_target, "Green is not made under a name that somebody else's collection has."),
    Rule(migrating.provision, "There is no green yet."),
    Rule(migrating.drop_outdated, "Green's points come from elsewhere than planned: it is made again."),
    Rule(migrating.retune, "Only settings were edited: green's points stay, and the edit voids an approval."),
    Rule(migrating.abort_first, "Without a blue to remember the abort on, green remembers it."),
    Rule(migrating.retry, "`retry` names the migration that is held."),
    Rule(migrating.go_on, "The step of the stage that green is in."),
    Rule(tidying.watch, "A cut-over can still prove bad: until then what serves stays as it is."),
    Rule(tidying.apply_in_place, "What serves is made as declared before what is left over is tidied up."),
    Rule(tidying.drop_abandoned, "A green that nothing plans any more serves nobody."),
    Rule(tidying.retire, "Last of the changes, because it cannot be undone."),
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
            return in_step.interleave(view, replace(decision, rule=rule.name))
    raise LookupError("the last rule always decides")
