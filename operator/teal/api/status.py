"""The status of a VectorCollection: a report for people and tools, never Teal's memory.

Qdrant is the truth. Wiping a status costs at most one repeated step, so nothing here is ever needed to go on,
and one that cannot be read, such as a newer operator's, counts as none. Texts and lists that are too long are
cut rather than refused: a status that the API server rejects would hide what it has to say.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from teal.api.common import Report
from teal.api.conditions import Conditions
from teal.api.model import Items
from teal.api.values import GoDuration, Sentence, StatusTime, Word, at_most

Phase = Literal[
    "Pending",
    "Provisioning",
    "Populating",
    "CatchingUp",
    "Indexing",
    "Verifying",
    "AwaitingPromotion",
    "Promoting",
    "Watching",
    "Ready",
    "RollingBack",
    "Held",
    "Suspended",
    "Deleting",
]
Verdict = Literal["Passed", "Failed", "Error", "Inconclusive"]

HISTORY = 10

Count = Annotated[int, Field(ge=0)]


class Active(Report):
    """The collection behind the alias."""

    collection: Word
    """Its name in Qdrant."""
    schema_version: Word | None = None
    """Version of its embeddings."""
    revision: Word | None = None
    """Hash over what cannot change in place."""
    dimensions: Count | None = None
    """Elements per vector; of several vectors, the first one's."""
    distance: Word | None = None
    """How two vectors are compared; of several vectors, the first one's."""
    points: Count | None = None
    """Points, as Qdrant counts them; approximate while it optimises."""
    since: StatusTime | None = None
    """Since when it serves."""


class ProgressStatus(Report):
    """How far population got."""

    points_done: Count | None = None
    """Points that are durably in the new collection."""
    points_total: Count | None = None
    """Points of the source."""
    percent: Annotated[int, Field(ge=0, le=100)] | None = None
    """The same in whole percent."""
    points_per_second: Annotated[float, Field(ge=0)] | None = None
    """Points per second, lately."""
    eta_seconds: Count | None = None
    """Seconds that are left at this rate."""
    throttled: bool | None = None
    """Whether population is slowed down for the sake of readers. That is not stalled."""
    throttle_reason: Sentence | None = None
    """Why."""


class CheckStatus(Report):
    """One thing that was verified."""

    name: Word
    """What was looked at."""
    verdict: Verdict
    """Failed: it is not so. Error: it could not be looked at. Inconclusive: too little to tell."""
    observed: Word | None = None
    """What was found."""
    threshold: Word | None = None
    """What was needed."""
    message: Sentence | None = None
    """In words."""
    samples: Annotated[Items[Word], *at_most(10)] = ()
    """Ids of points that show it."""


class VerificationReport(Report):
    """Whether the new collection may serve. A failure stays until `teal.dev/retry` or a new plan."""

    verdict: Verdict
    """The worst of the checks."""
    checks: Annotated[Items[CheckStatus], *at_most(32)] = ()
    """What was verified."""


class CutOverStatus(Report):
    """The cut-over that moved the alias."""

    switch: Word | None = None
    """Quiet: in a moment without writes. Fenced: while writers were held back with 429."""
    alias_millis: Annotated[float, Field(ge=0)] | None = None
    """Milliseconds from asking for the alias until every peer showed it."""
    fence_millis: Annotated[float, Field(ge=0)] | None = None
    """Milliseconds that writers were held back; 0 in a quiet moment."""
    late_writes: Count | None = None
    """Writes that had resolved the alias before it moved, and were carried over after it."""
    op_num_before: Annotated[Items[int], Field(max_length=4096)] = ()
    """Per shard of the old collection: its last operation when the last pass ended."""
    op_num_after: Annotated[Items[int], Field(max_length=4096)] = ()
    """The same right after the cut-over; equal numbers prove that no write was missed."""


class InStepStatus(Report):
    """The collection that served before, kept in step with the serving one until its retention ends."""

    collection: Word | None = None
    """Its name in Qdrant."""
    lag_seconds: Count | None = None
    """Seconds since both were last found in step."""
    to_serving: Count | None = None
    """Points that were written there and went to the serving collection."""
    to_retained: Count | None = None
    """Points that were written to the serving collection and went back."""
    conflicts: Count | None = None
    """Points that were written on both sides in between; the serving side's content won."""
    left_behind: Count | None = None
    """Points of the serving collection that could not go back."""
    reason: Sentence | None = None
    """Why not."""
    samples: Annotated[Items[Word], *at_most(10)] = ()
    """Ids of conflicts."""


class WritesStatus(Report):
    """What became of writes during the migration."""

    mode: Word | None = None
    """CatchUp, DualWrite or Frozen."""
    guarantee: Sentence | None = None
    """What holds for a write that was acknowledged meanwhile."""
    passes: Count | None = None
    """Passes over the source in search of changes."""
    caught_up: Count | None = None
    """Points that changed while green was made, and were copied again."""
    in_step: InStepStatus | None = None
    """The retained collection, while it can be gone back to."""
    cut_over: CutOverStatus | None = None
    """The cut-over, once it has happened."""
    proof: Sentence | None = None
    """What shows that none was missed."""


class WatchReport(Report):
    """What is watched after the cut-over, and against what."""

    watched_seconds: Count | None = None
    """Seconds that have been watched; pauses do not count."""
    median_millis_before: Annotated[float, Field(ge=0)] | None = None
    """Milliseconds that a search through the alias took before the cut-over: the median."""
    p95_millis_before: Annotated[float, Field(ge=0)] | None = None
    """The same: the 95th percentile."""
    p95_millis: Annotated[float, Field(ge=0)] | None = None
    """The 95th percentile of the last look."""
    error_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of the last look's searches that failed."""
    paused: Sentence | None = None
    """Why the last look says nothing; the watch goes on when it can be told again."""


class MigrationStatus(Report):
    """The migration under way."""

    id: Word | None = None
    """Names it in `teal.dev/abort`, `teal.dev/retry` and `teal.dev/rollback`."""
    plan_hash: Word | None = None
    """Names the plan in `teal.dev/promote`; any change of the spec changes it."""
    strategy: Word | None = None
    """InPlace or BlueGreen."""
    reasons: Annotated[Items[Sentence], *at_most(32)] = ()
    """What differs, and so why."""
    source: Word | None = None
    """The collection that it starts from."""
    target: Word | None = None
    """The collection that it makes."""
    phase: Phase | None = None
    """The step that it is at."""
    started_at: StatusTime | None = None
    """When it began."""
    progress: ProgressStatus | None = None
    """How far population got."""
    attempts: Count | None = None
    """Times it was begun."""
    verification: VerificationReport | None = None
    """Whether the new collection may serve."""
    writes: WritesStatus | None = None
    """What became of writes meanwhile."""
    watch: WatchReport | None = None
    """What is watched since the cut-over."""
    last_error: Sentence | None = None
    """What went wrong last, and what to do."""


class Retained(Report):
    """A collection that was replaced and is kept for a while."""

    collection: Word
    """Its name in Qdrant."""
    schema_version: Word | None = None
    """Version of its embeddings."""
    revision: Word | None = None
    """Hash over what cannot change in place."""
    retain_until: StatusTime | None = None
    """When it will be deleted."""
    snapshot: Word | None = None
    """Name of the snapshot that was taken of it."""


class RefusedAction(Report):
    """An annotation that is not acted on, because what it names is not there any more."""

    annotation: Word
    """The annotation."""
    value: Word
    """What it names."""
    message: Sentence | None = None
    """Why it is refused, and what to do."""


class HistoryEntry(Report):
    """A migration that is over."""

    id: Word | None = None
    """What named it."""
    from_: Word | None = Field(default=None, validation_alias="from", serialization_alias="from")
    """The collection that served before."""
    to: Word | None = None
    """The collection that it made."""
    outcome: Word | None = None
    """How it ended."""
    points: Count | None = None
    """Points that it moved."""
    duration: Annotated[timedelta, GoDuration("0s", "876000h")] | None = None
    """How long it took."""
    finished_at: StatusTime | None = None
    """When it ended."""
    message: Sentence | None = None
    """In words."""


class ForecastStatus(Report):
    """What the change will cost; there before population begins."""

    points: Count | None = None
    """Points to move."""
    bytes: Count | None = None
    """Bytes that the new collection will need."""
    seconds: Count | None = None
    """Seconds that population will take."""
    embedding_tokens: Count | None = None
    """Tokens to embed; 0 where vectors are copied."""


class VectorCollectionStatus(Report):
    """What is."""

    observed_generation: int | None = None
    """The generation that this status is about; -1 before the first look."""
    phase: Phase | None = None
    """Where things stand, for people; tools read the conditions."""
    alias: Word | None = None
    """The alias that clients use."""
    active: Active | None = None
    """The collection behind the alias."""
    migration: MigrationStatus | None = None
    """The migration under way."""
    retained: Annotated[Items[Retained], *at_most(32)] = ()
    """Collections that were replaced and are kept for a while."""
    history: Annotated[Items[HistoryEntry], *at_most(HISTORY)] = ()
    """The last migrations, newest first."""
    forecast: ForecastStatus | None = None
    """What the change will cost."""
    refused_actions: Annotated[Items[RefusedAction], *at_most(4)] = ()
    """Annotations that are not acted on."""
    conditions: Conditions = ()
    """Ready, Available, Reconciling, Stalled, Verified."""
