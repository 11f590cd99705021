"""The policies of a VectorCollection: how a change is made, verified, watched, and rolled back.

Every field with a default has it in the CRD, so `kubectl get -o yaml` shows the policy in force. Gates that this
version does not support have no default: a threshold in a resource is enforced, or the resource is `Stalled`
with reason `NotSupportedYet` (see `unsupported.py`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from teal.api.model import CelRule, Items, Model, present, section
from teal.api.values import Distinct, FieldPath, GoDuration, HttpUrl, Matches, ObjectName, QdrantName

Ratio = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[float, Field(ge=1, le=1000)]


class ThrottleSpec(Model):
    """When population slows down, so that readers are not slowed down."""

    max_read_latency_millis: int = Field(default=200, ge=1, le=600000)
    """Longest time in milliseconds of a search on the serving collection. If a search takes longer, or cannot be
    measured, population waits.
    """


class WindowSpec(Model):
    """A recurring time in which the cut-over may happen."""

    schedule: Annotated[
        str,
        Field(max_length=128),
        Matches(r"\S+( +\S+){4}", "must be a cron expression of five fields: minute hour day month weekday"),
    ]
    """When the window opens: minute, hour, day, month, weekday."""
    duration: Annotated[timedelta, GoDuration("1m", "168h")]
    """How long the window stays open."""
    time_zone: Annotated[
        str, Field(max_length=64), Matches("[A-Za-z][A-Za-z0-9_+/-]*", "must be an IANA name: Europe/Berlin")
    ] = "UTC"
    """IANA name of the schedule's time zone."""


class Promotion(Model):
    """When and how the alias moves to the new collection."""

    mode: Literal["Automatic", "Manual"] = "Automatic"
    """Manual: wait for the annotation `teal.dev/promote: <planHash>`."""
    fence: Literal["WhenBusy", "Never"] = "WhenBusy"
    """WhenBusy: block writers with 429 for the instant of the cut-over, and if writes never pause, for one pass,
    too; and while a collection whose retention has ended is carried over, saved and deleted. Never: do not block
    them.
    """
    quiet_wait: Annotated[timedelta, GoDuration("0s", "24h")] = timedelta(minutes=5)
    """How long to wait for a moment without writes before they are blocked for a pass."""
    max_stall: Annotated[timedelta, GoDuration("0s", "60s")] = timedelta(seconds=1)
    """If blocking writers for a pass takes no longer than this, do not wait for a moment without writes."""
    max_fence: Annotated[timedelta, GoDuration("100ms", "60s")] = timedelta(seconds=10)
    """The longest time that writers get 429 in a cut-over. The answer says to retry after 60 s, but an earlier
    retry works.
    """
    windows: Items[WindowSpec] = Field(
        default=(), max_length=16, json_schema_extra={"x-kubernetes-list-type": "atomic"}
    )
    """When the cut-over may happen; empty: at any time. First revisions and rollbacks do not wait."""


class HookSpec(Model):
    """A POST before or after the cut-over. The answer must be 2xx. Teal may send it twice for one migration."""

    url: HttpUrl
    """Receives planHash, migration, source, target, alias, resource and phase as JSON."""
    timeout: Annotated[timedelta, GoDuration("1s", "10m")] = timedelta(seconds=30)
    """How long to wait for each answer."""
    retries: int = Field(default=3, ge=0, le=100)
    """Further attempts after the first."""


class HooksSpec(Model):
    """Requests before and after the cut-over."""

    before_switch: HookSpec | None = None
    """After verification and approval, before the cut-over. Without a 2xx answer there is no cut-over, and Teal
    asks again after 1, 5, 10 and 30 minutes. First revisions and rollbacks do not ask.
    """
    after_switch: HookSpec | None = None
    """After the cut-over. A failure is reported and changes nothing."""


class ChangeField(Model):
    """A payload field with a number or a date (RFC 3339) that grows with every write, such as `updated_at`."""

    name: FieldPath
    """Name of the field, with dots for nested ones."""
    trusted: bool = False
    """Every write raises the field, except deletions. Then the last passes before the cut-over go by it, too, so
    that a fence holds writers back only as long as reading the changes takes. A write that does not raise it may
    be missed. Only with `writes: CatchUp`.
    """


class MigrationSpec(Model):
    """How a change is made."""

    strategy: Literal["Auto", "InPlaceOnly", "BlueGreen"] = "Auto"
    """Auto: in place if Qdrant can, else a new collection. InPlaceOnly: refuse a change that needs a new
    collection. BlueGreen: always a new collection.
    """
    writes: Literal["CatchUp", "DualWrite", "Frozen"] = "CatchUp"
    """Who writes during a migration. CatchUp: the application writes to the alias, and Teal copies the changes.
    DualWrite: the application writes to both collections. Frozen: nobody writes.
    """
    change_field: ChangeField | None = None
    """Payload field that grows with every write. Passes then compare only points with a high value, and all points
    if some are gone. The last passes before the cut-over compare all points, unless the field is trusted.
    """
    runner: Literal["Auto", "InProcess", "Job"] = "Auto"
    """What copies the points. InProcess: the operator. Job: pods of an Indexed Job."""
    parallelism: int = Field(default=4, ge=1, le=256)
    """Streams that copy in parallel."""
    allow_normalized: bool = False
    """Allow a copy from a Cosine collection into one with another distance. Cosine stores vectors normalised, so
    their lengths are lost. Set it to true if the encoder's vectors have length 1 anyway.
    """
    throttle: ThrottleSpec = section(ThrottleSpec)
    """When population slows down."""
    promotion: Promotion = section(Promotion)
    """When and how the alias moves."""
    hooks: HooksSpec | None = None
    """Requests before and after the cut-over."""


class ConfigMapRef(Model):
    """A ConfigMap in the same namespace."""

    name: ObjectName
    """Name of the ConfigMap."""


class GoldenQueries(Model):
    """Judged queries: queries with known right answers."""

    config_map_ref: ConfigMapRef
    """Under any key, YAML or JSON: a list of objects with `query` (text), `relevant` (ids) and, optionally, `k`.
    """
    min_recall: Ratio
    """Share of those ids that the new collection must find among its first `k` results (default 10)."""


class Verification(Model):
    """What must be true of the new collection before it serves."""

    min_coverage: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the source's points that the new collection must have."""
    sample: int = Field(default=1000, ge=0, le=1000000)
    """Points whose content is compared."""
    min_overlap: Ratio | None = None
    """Only with the same encoder: share of the source's first ten results that the new collection must return.
    Unset: 0.95, if both distances rank alike. If it is set and they do not rank alike, the migration pauses.
    """
    golden_queries: GoldenQueries | None = None
    """Judged queries, for an encoder whose results may differ and be better."""
    max_latency_ratio: Factor | None = None
    """Search latency of the new collection as a multiple of the source's, at the median and the 95th percentile.
    Unset: 2. Times below 2 ms count as 2 ms.
    """


class PrometheusQuery(Model):
    """A query with the range that its value must stay in."""

    name: QdrantName
    """What it measures."""
    query: Annotated[str, Field(min_length=1, max_length=4096)]
    """PromQL with one value as its result."""
    min: float | None = None
    """A value below this causes a rollback."""
    max: float | None = None
    """A value above this causes a rollback."""

    @CelRule("has(self.min) || has(self.max)", "set min, max or both")
    def bounded(self) -> bool:
        return present(self, "min", "max") > 0


class Prometheus(Model):
    """The user's own measurements."""

    url: HttpUrl
    """Base URL of the Prometheus API."""
    queries: Annotated[Items[PrometheusQuery], Field(min_length=1, max_length=16), Distinct("name")]
    """What is watched. A value out of range is a breach at once; no value pauses the watch."""


class Watch(Model):
    """What is watched after the cut-over; a breach causes a rollback."""

    duration: Annotated[timedelta, GoDuration("0s", "168h")] = timedelta(minutes=30)
    """How long; 0s: no watch."""
    interval: Annotated[timedelta, GoDuration("1s", "1h")] = timedelta(seconds=30)
    """Time between two probes."""
    max_error_rate: Ratio = 0.05
    """Share of searches through the alias that may fail. More than that for two minutes is a breach."""
    max_latency_ratio: Factor = 2.0
    """95th percentile of the search latency, as a multiple of that before the cut-over. More than that for five
    minutes is a breach. Both times are a third of `duration` if that is shorter. Below 10 ms nothing is slow.
    """
    prometheus: Prometheus | None = None
    """The user's own measurements."""


class Retention(Model):
    """What happens to a collection that was replaced."""

    keep_for: Annotated[timedelta, GoDuration("0s", "8760h")] = timedelta(hours=48)
    """How long it is kept. Until then, reverting the spec rolls back at once."""
    snapshot: bool = True
    """Before it is deleted, take a snapshot on every peer that has shards of it. Qdrant does not list them after
    the deletion; the Event and `status.history` say where they are.
    """
    delete_adopted: bool = False
    """Delete it even if Teal adopted it. By default an adopted collection is released: it stays as it is, without
    Teal's marks and aliases.
    """
