"""What each mark is for, who writes it, and how long it stays: one row each.

The rows are read by the code that clears marks (`cleared_on`), and `docs/architecture.md` shows them. A mark stays
as long as something can still be decided from it, and no longer: what is left over would be believed later.
"""

from __future__ import annotations

from dataclasses import dataclass

from teal.domain.marks.kinds import (
    Baseline,
    Carried,
    Checkpoint,
    CutoverBegun,
    Declared,
    Declined,
    Encoder,
    Fence,
    Frozen,
    Hooks,
    InStep,
    Key,
    Mark,
    Migration,
    Owner,
    Replaced,
    Snapshots,
    Stale,
    StoredVerdict,
    Watched,
)
from teal.domain.transitions import Stage

SERVES = {Stage.WATCHING: 0, Stage.READY: 1}
"""The stages of a collection that serves, in their order."""
ENTERING = ("steps/stages", "steps/repair")
"""Where stages are written."""


@dataclass(frozen=True)
class Row:
    """`written_by` and `cleared_by` are modules of `teal.migration`, `cleared` says in words when.

    With `until`, the mark goes in the same request that takes its collection to this stage, or to a later one.
    """

    kind: type[Mark]
    on: str
    holds: str
    written_by: tuple[str, ...]
    cleared: str = "stays"
    cleared_by: tuple[str, ...] = ()
    until: Stage | None = None

    @property
    def clearing(self) -> tuple[str, ...]:
        """All modules that clear it."""
        return (*(ENTERING if self.until else ()), *self.cleared_by)


PARTNER = "when that collection is retired, or found gone"

TABLE = (
    Row(
        Owner,
        "each collection of ours",
        "uid, cluster, namespace, name and alias of the resource; revision; the collection's own name",
        ("steps/provision", "steps/adopt"),
    ),
    Row(
        Encoder,
        "each, if a model is declared",
        "model, schemaVersion, dimensions, URL: for clients",
        ("steps/provision", "steps/adopt", "steps/in_place"),
    ),
    Row(
        Declared,
        "each",
        "which payload indexes and quantization the spec had, so that leaving it is noticed",
        ("steps/provision", "steps/index", "steps/in_place"),
    ),
    Row(
        Migration,
        "each",
        "plan and data hash, stage and since when, source, attempt, why it is held",
        ("steps/stages",),
    ),
    Row(
        StoredVerdict,
        "green",
        "the checks and their results, for this plan",
        ("steps/verify",),
        "by a retry or a new plan",
        ("steps/stages",),
    ),
    Row(
        Checkpoint,
        "green",
        "sums by bucket over the versions of the points that were copied, and their epoch",
        ("copying/copy_pass",),
        "when it serves, or by a retry",
        ("steps/stages",),
        until=Stage.WATCHING,
    ),
    Row(
        Frozen,
        "green",
        "a digest of all versions of blue, and their epoch, with `writes: Frozen`",
        ("copying/copy_pass",),
        "when it serves, or by a retry",
        ("steps/stages",),
        until=Stage.WATCHING,
    ),
    Row(
        CutoverBegun,
        "green",
        "from which collection the alias is about to move, so that a successor carries late writes over",
        ("cutover/attempt",),
        "when the cut-over is finished, or was taken back",
        ("cutover/attempt", "cutover/take_back", "steps/roll_back"),
        until=Stage.WATCHING,
    ),
    Row(
        Hooks,
        "green",
        "how often the gate was closed, when it may be asked again, and whether the hook after the cut-over was "
        "told",
        ("steps/hooks",),
        "when the watch has ended",
        until=Stage.READY,
    ),
    Row(
        Baseline,
        "green",
        "how blue answered the watch's searches right before the cut-over",
        ("probing/search",),
        "when the watch has ended",
        until=Stage.READY,
    ),
    Row(
        Watched,
        "green",
        "for how long it has been watched, and for how long it has been bad",
        ("steps/watch",),
        "when the watch has ended, or begins anew",
        ("probing/search",),
        until=Stage.READY,
    ),
    Row(
        InStep,
        "green, after the cut-over",
        "epochs, floors and sums of both sides when they were last in step, first right before the cut-over",
        ("cutover/attempt", "sync/round", "steps/roll_back"),
        PARTNER,
        ("steps/partners",),
    ),
    Row(
        Carried,
        "green, after the cut-over",
        "digests of what Teal wrote to either side lately, so that after a crash it is not taken for the "
        "application's",
        ("sync/write_ahead",),
        f"{PARTNER}, and when later notes cover it",
        ("steps/partners", "sync/round"),
    ),
    Row(
        Stale,
        "green, with another encoder",
        "which points had a new text on blue shortly before the cut-over, and no new vector: that is made anew "
        "when they are carried back",
        ("copying/copy_pass", "cutover/attempt", "steps/repair"),
        PARTNER,
        ("steps/partners",),
    ),
    Row(
        Fence,
        "blue, while fenced",
        "its own limits, to be given back",
        ("cutover/fence",),
        "when the fence is lifted",
        ("cutover/fence",),
    ),
    Row(
        Replaced,
        "blue, afterwards",
        "by whom, and since when",
        ("steps/repair",),
        "when it serves again",
        until=Stage.WATCHING,
    ),
    Row(
        Snapshots,
        "blue, right before it is deleted",
        "the snapshots that together hold all of it, and the peer that has each",
        ("steps/retire",),
        "with the collection, or when it serves again",
        until=Stage.WATCHING,
    ),
    Row(
        Declined,
        "blue",
        "that the way to what the spec asks for was aborted or rolled back, and why; it holds until the spec "
        "changes or a retry",
        ("steps/decline",),
        "stays, as lifted: it knows which attempts there were",
    ),
)


def cleared_on(stage: Stage) -> tuple[Key, ...]:
    """What has no use any more on a collection that enters `stage`."""
    entered = SERVES.get(stage, -1)
    return tuple(row.kind.KEY for row in TABLE if row.until and SERVES[row.until] <= entered)


def describe() -> str:
    """The table in Markdown, as the docs show it."""
    rows = ["| key | on | holds | written by | cleared |", "| --- | --- | --- | --- | --- |"]
    for row in TABLE:
        cleared = f"{row.cleared}: {_links(row.clearing)}" if row.clearing else row.cleared
        rows.append(f"| `{row.kind.KEY}` | {row.on} | {row.holds} | {_links(row.written_by)} | {cleared} |")
    return "\n".join(rows)


def _links(modules: tuple[str, ...]) -> str:
    named = dict.fromkeys(modules)
    return ", ".join(f"[{name.rpartition('/')[2]}](../operator/teal/migration/{name}.py)" for name in named)
