"""The migration's state machine: every transition that exists stands in one table.

Two rules. A migration's stage is kept on its green collection in Qdrant and changes only by `advance`, with an
event that a step reports after its effect is durable. And an event that the table does not know in a stage
is a bug, so it raises instead of doing something plausible.

The stage on a collection is that of the latest move of the alias to it: a rollback changes the stage of the
collection that the alias goes back to. After a `retry`, a revision that had been rolled back may be cut over to
once more; then it is watched again.

`Stage` is the machine's state. `Phase` (what people see in status) adds what is not about one migration:
waiting, suspended, deleting. The diagram in docs/ is drawn from `TABLE` by `diagram()`.
"""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    PROVISIONING = "Provisioning"
    POPULATING = "Populating"
    CATCHING_UP = "CatchingUp"
    INDEXING = "Indexing"
    VERIFYING = "Verifying"
    AWAITING_PROMOTION = "AwaitingPromotion"
    PROMOTING = "Promoting"
    WATCHING = "Watching"
    READY = "Ready"
    ROLLING_BACK = "RollingBack"
    HELD = "Held"


class Event(StrEnum):
    PROVISIONED = "provisioned"
    POPULATED = "populated"
    CAUGHT_UP = "caught up"
    FELL_BEHIND = "fell behind"
    INDEXED = "indexed"
    VERIFIED = "verified"
    AGED = "verdict aged"
    FAILED = "failed"
    APPROVED = "approved"
    WITHDRAWN = "approval withdrawn"
    CUT_OVER = "cut over"
    WATCHED = "watched"
    BREACHED = "breached"
    REVERTED = "reverted"
    ROLLED_BACK = "rolled back"
    RETRIED = "retried"
    EDITED = "tuning edited"


class ImpossibleTransitionError(RuntimeError):
    """An event was reported in a stage that cannot see it: a bug in Teal, never a user's mistake."""


TABLE: dict[tuple[Stage, Event], Stage] = {
    (Stage.PROVISIONING, Event.PROVISIONED): Stage.POPULATING,
    (Stage.POPULATING, Event.POPULATED): Stage.CATCHING_UP,
    (Stage.CATCHING_UP, Event.CAUGHT_UP): Stage.INDEXING,
    (Stage.INDEXING, Event.FELL_BEHIND): Stage.CATCHING_UP,
    (Stage.INDEXING, Event.INDEXED): Stage.VERIFYING,
    (Stage.VERIFYING, Event.VERIFIED): Stage.AWAITING_PROMOTION,
    (Stage.AWAITING_PROMOTION, Event.APPROVED): Stage.PROMOTING,
    (Stage.AWAITING_PROMOTION, Event.AGED): Stage.VERIFYING,
    (Stage.PROMOTING, Event.WITHDRAWN): Stage.AWAITING_PROMOTION,
    (Stage.PROMOTING, Event.CUT_OVER): Stage.WATCHING,
    (Stage.WATCHING, Event.WATCHED): Stage.READY,
    **{
        (stage, event): Stage.ROLLING_BACK
        for stage in (Stage.READY, Stage.WATCHING)
        for event in (Event.REVERTED, Event.BREACHED)
    },
    (Stage.ROLLING_BACK, Event.ROLLED_BACK): Stage.READY,
    (Stage.ROLLING_BACK, Event.CUT_OVER): Stage.WATCHING,
    (Stage.HELD, Event.RETRIED): Stage.POPULATING,
    (Stage.HELD, Event.EDITED): Stage.POPULATING,
    (Stage.POPULATING, Event.EDITED): Stage.POPULATING,
    (Stage.CATCHING_UP, Event.EDITED): Stage.CATCHING_UP,
    **{
        (stage, Event.EDITED): Stage.INDEXING
        for stage in (Stage.INDEXING, Stage.VERIFYING, Stage.AWAITING_PROMOTION, Stage.PROMOTING)
    },
    **{
        (stage, Event.FAILED): Stage.HELD
        for stage in (
            Stage.PROVISIONING,
            Stage.POPULATING,
            Stage.CATCHING_UP,
            Stage.INDEXING,
            Stage.VERIFYING,
            Stage.AWAITING_PROMOTION,
            Stage.PROMOTING,
        )
    },
}

HAS_SERVED = frozenset({Stage.WATCHING, Stage.READY, Stage.ROLLING_BACK})


def advance(stage: Stage, event: Event) -> Stage:
    """The stage that `event` leads to.

    Raises:
        ImpossibleTransitionError: the table has no such transition.
    """
    try:
        return TABLE[stage, event]
    except KeyError:
        raise ImpossibleTransitionError(f"{event.value!r} cannot happen in {stage.value}") from None


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    rows = [f"    {source.value} --> {target.value}: {event.value}" for (source, event), target in TABLE.items()]
    return "\n".join(["stateDiagram-v2", "    [*] --> Provisioning", *rows])
