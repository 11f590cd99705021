"""Who writes while green is made, and what Teal can promise for it.

A promise without a proof is none: each mode says what is guaranteed, and the status shows what shows it.
"""

from __future__ import annotations

from enum import StrEnum


class WriteMode(StrEnum):
    CATCH_UP = "CatchUp"
    DUAL_WRITE = "DualWrite"
    FROZEN = "Frozen"


FENCED = (
    "every acknowledged write to the alias before the switch is on the new collection; writers that never pause "
    "are answered 429 for at most promotion.maxFence"
)
UNFENCED = (
    "no writer is ever held back; whole-point writes and deletes that reach the old collection during the switch "
    "are carried over; of a point that is written twice within the switch, once on each side, a partial update or "
    "the later write may be lost"
)
DUAL = (
    "the application writes to both collections; the copy never overwrites what it wrote, and what was deleted "
    "from the serving collection does not come back"
)
FROZEN = "nobody writes during the migration; a write that happens all the same is found and holds the migration"


BY_FIELD = (
    "; the last pass goes by {0} alone, so a write that does not raise {0} and comes after the verification may "
    "be missed, unless it is an insert or a delete"
)


def guarantee(mode: WriteMode, *, fence: bool, by_field: str | None = None) -> str:
    """What holds for an acknowledged write, in a sentence. `by_field`: all that the last pass can go by."""
    return _holds(mode, fence=fence) + (
        BY_FIELD.format(by_field) if by_field and mode is WriteMode.CATCH_UP else ""
    )


def _holds(mode: WriteMode, *, fence: bool) -> str:
    match mode:
        case WriteMode.DUAL_WRITE:
            return DUAL
        case WriteMode.FROZEN:
            return FROZEN
        case WriteMode.CATCH_UP:
            return FENCED if fence else UNFENCED
