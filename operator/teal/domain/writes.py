"""Who may write while green is made, and what Teal guarantees for these writes.

A guarantee needs evidence: each mode says what is guaranteed, and the status shows the proof.
"""

from __future__ import annotations

from enum import StrEnum


class WriteMode(StrEnum):
    CATCH_UP = "CatchUp"
    DUAL_WRITE = "DualWrite"
    FROZEN = "Frozen"


FENCED = (
    "every acknowledged write to the alias before the cut-over is on the new collection; writers are answered 429 "
    "while the alias moves, for at most promotion.maxFence"
)
UNFENCED = (
    "no writer is ever held back; whole-point writes and deletes that reach the old collection during the "
    "cut-over are copied to the new one; if a point is written twice during the cut-over, once on each side, a "
    "partial update or the later write may be lost"
)
DUAL = (
    "the application writes to both collections; the copy never overwrites what the application wrote, and never "
    "brings back what was deleted from the serving collection"
)
FROZEN = "no writes during the migration; if one happens all the same, it is detected and the migration is held"


BY_FIELD = (
    "; the last pass goes by {0} alone, so a write that does not raise {0} and comes after the verification may "
    "be missed, unless it is an insert or a delete"
)


TRUSTED = (
    "; the last passes look only at points that {0} shows as changed, because it is trusted: a write that does "
    "not raise {0} and comes after the verification may be missed, unless it is a deletion"
)


def guarantee(
    mode: WriteMode, *, fence: bool, by_field: str | None = None, trusted_field: str | None = None
) -> str:
    """What holds for an acknowledged write, in a sentence.

    `by_field`: all that the last pass can go by. `trusted_field`: all that it does go by, as the user says it may.
    """
    holds = _holds(mode, fence=fence)
    if mode is not WriteMode.CATCH_UP:
        return holds
    if trusted_field:
        return holds + TRUSTED.format(trusted_field)
    return holds + (BY_FIELD.format(by_field) if by_field else "")


def _holds(mode: WriteMode, *, fence: bool) -> str:
    match mode:
        case WriteMode.DUAL_WRITE:
            return DUAL
        case WriteMode.FROZEN:
            return FROZEN
        case WriteMode.CATCH_UP:
            return FENCED if fence else UNFENCED
