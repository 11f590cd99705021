"""The status of a VectorCollection: a report for people and tools, never Teal's memory.

Qdrant is the source of truth. A lost status costs at most one repeated step, because no decision depends on it.
A status that cannot be read, for example of a newer operator, counts as none. Texts and lists that are too long
are cut: the API server would refuse the whole status.
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
    """Hash of everything that cannot change in place."""
    dimensions: Count | None = None
    """Elements of each vector; of several vectors, those of the first one."""
    distance: Word | None = None
    """How two vectors are compared; of several vectors, that of the first one."""
    points: Count | None = None
    """Number of points as Qdrant counts them; approximate during optimization."""
    since: StatusTime | None = None
    """When it began to serve."""


class ProgressStatus(Report):
    """The progress of population."""

    points_done: Count | None = None
    """Points that are stored in the new collection."""
    points_total: Count | None = None
    """Points of the source."""
    percent: Annotated[int, Field(ge=0, le=100)] | None = None
    """The progress in whole percent."""
    points_per_second: Annotated[float, Field(ge=0)] | None = None
    """Recent rate, in points per second."""
    eta_seconds: Count | None = None
    """Remaining seconds at this rate."""
    throttled: bool | None = None
    """Whether population is slowed down so that readers are not. That is not stalled."""
    throttle_reason: Sentence | None = None
    """Why."""


class CheckStatus(Report):
    """The result of one check; docs/checks.md describes each."""

    name: Word
    """Name of the check."""
    verdict: Verdict
    """Passed, Failed, Error (the check could not be run) or Inconclusive (too little to decide by)."""
    observed: Word | None = None
    """The measured value."""
    threshold: Word | None = None
    """The required value."""
    message: Sentence | None = None
    """The result in words."""
    samples: Annotated[Items[Word], *at_most(10)] = ()
    """Ids of some points that differ."""


class VerificationReport(Report):
    """Whether the new collection may serve. A failure stays until `teal.dev/retry` or a new plan."""

    verdict: Verdict
    """The worst verdict of all checks."""
    checks: Annotated[Items[CheckStatus], *at_most(32)] = ()
    """The checks."""


class CutOverStatus(Report):
    """The cut-over: the move of the alias."""

    switch: Word | None = None
    """Quiet: no write came from before the last pass until the move. Fenced: writers were blocked with 429 during
    the last pass, too. Unfenced: without either.
    """
    proved: bool | None = None
    """Whether it is proved that no write was missed."""
    alias_millis: Annotated[float, Field(ge=0)] | None = None
    """Milliseconds from the alias request until every peer showed the change."""
    fence_millis: Annotated[float, Field(ge=0)] | None = None
    """Milliseconds that writers were blocked; 0 without a fence."""
    trusted_field: Word | None = None
    """The change field, if the last pass looked only at points that it shows as changed."""
    late_writes: Count | None = None
    """Writes that reached the old collection while the alias moved, and were copied to the new one afterwards."""
    conflicts: Count | None = None
    """Late writes that were not copied, because the same point was written in the new collection, too."""
    barriers: Count | None = None
    """Teal's own operations on the old collection between the two looks at the numbers."""
    op_num_before: Annotated[Items[int], Field(max_length=4096)] = ()
    """The last operation number of each replica of the old collection before the last pass."""
    op_num_after: Annotated[Items[int], Field(max_length=4096)] = ()
    """The same after the cut-over. If each has risen by `barriers`, no write was missed."""


class InStepStatus(Report):
    """The collection that served before, kept in step with the serving one until its retention ends."""

    collection: Word | None = None
    """Its name in Qdrant."""
    lag_seconds: Count | None = None
    """Seconds since both were last found in step."""
    to_serving: Count | None = None
    """Points that changed there and were carried over to the serving collection."""
    to_retained: Count | None = None
    """Points that changed in the serving collection and were carried over to this one."""
    conflicts: Count | None = None
    """Points that changed on both sides between two rounds; the serving side won."""
    left_behind: Count | None = None
    """Points of either collection that could not be carried over to the other one."""
    unsettled: Count | None = None
    """Points that differ, of which it is not known which side changed. They stay as they are, and keep the
    retained collection from being deleted, until somebody writes or deletes them."""
    reason: Sentence | None = None
    """Why they could not be carried over."""
    samples: Annotated[Items[Word], *at_most(10)] = ()
    """Ids of some conflicts."""


class WritesStatus(Report):
    """Writes during the migration."""

    mode: Word | None = None
    """CatchUp, DualWrite or Frozen."""
    guarantee: Sentence | None = None
    """What Teal guarantees for an acknowledged write."""
    passes: Count | None = None
    """Passes over the source in search of changes."""
    caught_up: Count | None = None
    """Points that changed during the migration and were copied again."""
    in_step: InStepStatus | None = None
    """The retained collection, as long as a rollback to it is possible."""
    cut_over: CutOverStatus | None = None
    """The cut-over, once it has happened."""
    proof: Sentence | None = None
    """Whether a write may have been missed, and why, in words."""


class WatchReport(Report):
    """What is watched after the cut-over, and the figures to compare with."""

    watched_seconds: Count | None = None
    """Seconds of the watch so far; pauses do not count."""
    median_millis_before: Annotated[float, Field(ge=0)] | None = None
    """Median latency of searches through the alias before the cut-over, in milliseconds."""
    p95_millis_before: Annotated[float, Field(ge=0)] | None = None
    """95th percentile of that latency."""
    p95_millis: Annotated[float, Field(ge=0)] | None = None
    """95th percentile of the latest round."""
    error_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of failed searches in the latest round."""
    paused: Sentence | None = None
    """Why the watch is paused. It continues when it can measure again."""


class MigrationStatus(Report):
    """The current migration."""

    id: Word | None = None
    """The value for `teal.dev/abort`, `teal.dev/retry` and `teal.dev/rollback`."""
    plan_hash: Word | None = None
    """The value for `teal.dev/promote`. Any change of the spec changes it."""
    strategy: Word | None = None
    """Create (the first revision), BlueGreen or Rollback."""
    reasons: Annotated[Items[Sentence], *at_most(32)] = ()
    """The differences that cause the migration."""
    source: Word | None = None
    """The collection that is replaced."""
    target: Word | None = None
    """The collection that replaces it."""
    phase: Phase | None = None
    """The current step."""
    started_at: StatusTime | None = None
    """When the migration started."""
    progress: ProgressStatus | None = None
    """The progress of population."""
    attempts: Count | None = None
    """Number of the current attempt."""
    verification: VerificationReport | None = None
    """Whether the new collection may serve."""
    writes: WritesStatus | None = None
    """Writes during the migration."""
    watch: WatchReport | None = None
    """The watch after the cut-over."""
    last_error: Sentence | None = None
    """The latest error, and what to do."""


class Retained(Report):
    """A collection that was replaced and is kept until its retention ends."""

    collection: Word
    """Its name in Qdrant."""
    schema_version: Word | None = None
    """Version of its embeddings."""
    revision: Word | None = None
    """Hash of everything that cannot change in place."""
    retain_until: StatusTime | None = None
    """When its retention ends."""
    snapshot: Sentence | None = None
    """Its snapshots, taken right before it is deleted: names and peers."""


class RefusedAction(Report):
    """An annotation that Teal refuses, because its value names an old plan or migration."""

    annotation: Word
    """The annotation."""
    value: Word
    """Its value."""
    message: Sentence | None = None
    """Why it is refused, and what to do."""


class HistoryEntry(Report):
    """A migration that has ended."""

    id: Word | None = None
    """Its id."""
    from_: Word | None = Field(default=None, validation_alias="from", serialization_alias="from")
    """The collection that was replaced."""
    to: Word | None = None
    """The new collection."""
    outcome: Word | None = None
    """How it ended."""
    points: Count | None = None
    """Points that were copied."""
    duration: Annotated[timedelta, GoDuration("0s", "876000h")] | None = None
    """How long it took."""
    finished_at: StatusTime | None = None
    """When it ended."""
    message: Sentence | None = None
    """The result in words."""


class ForecastStatus(Report):
    """The expected cost of the change; known before population starts."""

    points: Count | None = None
    """Points to copy."""
    bytes: Count | None = None
    """Bytes that the new collection will need."""
    seconds: Count | None = None
    """Seconds that population will take."""
    embedding_tokens: Count | None = None
    """Tokens to embed; 0 if vectors are copied."""


class VectorCollectionStatus(Report):
    """The observed state."""

    observed_generation: int | None = None
    """The generation that this status is about; -1 before the first reconcile."""
    phase: Phase | None = None
    """The phase, for people; tools read the conditions."""
    alias: Word | None = None
    """The alias that clients use."""
    active: Active | None = None
    """The collection behind the alias."""
    migration: MigrationStatus | None = None
    """The current migration."""
    retained: Annotated[Items[Retained], *at_most(32)] = ()
    """Collections that were replaced and are kept until their retention ends."""
    history: Annotated[Items[HistoryEntry], *at_most(HISTORY)] = ()
    """The last migrations, newest first."""
    forecast: ForecastStatus | None = None
    """The expected cost of the change."""
    refused_actions: Annotated[Items[RefusedAction], *at_most(4)] = ()
    """Annotations that Teal refuses."""
    conditions: Conditions = ()
    """Ready, Available, Reconciling, Stalled, Verified."""
