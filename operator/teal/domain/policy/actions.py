"""The things that can be done next, and the decision that names one.

What carries an action out, and how it shows, stands in the registry of steps (`migration/steps/registry.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from teal.domain.marks import Declined
from teal.domain.plan import Plan
from teal.domain.transitions import Stage
from teal.domain.tuning import InPlace


class Do(StrEnum):
    """The one thing to do next. The value is what `teal plan` shows where it has no better words."""

    REST = "rest"
    STAY = "stay"
    WAIT_HELD = "wait, held"
    KEEP_IN_STEP = "keep both revisions in step"

    LIFT_FENCE = "lift the fence"
    ADOPT = "adopt"
    CLAIM = "claim"
    RESTORE_ALIAS = "restore the alias"
    FINISH_CUTOVER = "finish the cut-over"
    STAMP_REPLACED = "note as replaced"
    SET_ALIASES = "set the lesser aliases"

    PROVISION = "provision"
    POPULATE = "populate"
    CATCH_UP = "catch up"
    INDEX = "build the indexes"
    VERIFY = "verify"
    AWAIT_PROMOTION = "await promotion"
    PROMOTE = "cut over"
    WATCH = "watch"
    RETUNE = "take over the edited settings"
    RETRY = "retry"
    ABORT_FIRST = "abort the first revision"

    ROLL_BACK = "roll back"
    DECLINE = "decline"
    LIFT_DECLINE = "lift the decline"
    APPLY_IN_PLACE = "apply in place"
    DROP_ABANDONED = "drop an abandoned green"
    RETIRE = "retire"


OF_STAGE = {
    Stage.POPULATING: Do.POPULATE,
    Stage.CATCHING_UP: Do.CATCH_UP,
    Stage.INDEXING: Do.INDEX,
    Stage.VERIFYING: Do.VERIFY,
    Stage.AWAITING_PROMOTION: Do.AWAIT_PROMOTION,
    Stage.PROMOTING: Do.PROMOTE,
    Stage.WATCHING: Do.WATCH,
    Stage.HELD: Do.WAIT_HELD,
}
"""The action of each stage, where no rule asks for another one."""


@dataclass(frozen=True)
class Decision:
    """`subject` is the collection that `do` is about; `plan` what it is part of; `rule` which rule named it.

    STAY rests like REST, although the spec asks for another revision, because that migration was declined.
    `declined` is the mark that says so: DECLINE writes it, and ROLL_BACK follows it. KEEP_IN_STEP is about the
    `pairs` (newer, retained) whose rounds are due, and goes before `then`, which is what would be done otherwise.
    """

    do: Do
    plan: Plan
    subject: str | None = None
    in_place: InPlace = field(default_factory=InPlace)
    declined: Declined | None = None
    pairs: tuple[tuple[str, str], ...] = ()
    then: Decision | None = None
    rule: str = field(default="", compare=False)

    @property
    def main(self) -> Decision:
        """What is reported: keeping in step goes on beside everything else and is shown in its own place."""
        return self.then or self
