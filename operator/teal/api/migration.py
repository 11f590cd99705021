"""How a change is carried out, proved, watched, and undone: the policies of a VectorCollection.

Every field that has a default has it in the CRD, so `kubectl get -o yaml` shows the policy that is in force.
Gates that this version cannot keep have no default: a threshold that stands in a resource is enforced, or the
resource is `Stalled` with reason `NotSupportedYet` (see `unsupported.py`).
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
    """When population slows down for the sake of whoever is reading."""

    max_read_latency_millis: int = Field(default=200, ge=1, le=600000)
    """Milliseconds that a read of the serving collection may take; above, or unknown, population waits."""


class WindowSpec(Model):
    """A recurring time in which the cut-over may happen."""

    schedule: Annotated[
        str,
        Field(max_length=128),
        Matches(r"\S+( +\S+){4}", "must be a cron expression of five fields: minute hour day month weekday"),
    ]
    """When the window opens: minute, hour, day, month, weekday."""
    duration: Annotated[timedelta, GoDuration("1m", "168h")]
    """How long it stays open."""
    time_zone: Annotated[
        str, Field(max_length=64), Matches("[A-Za-z][A-Za-z0-9_+/-]*", "must be an IANA name: Europe/Berlin")
    ] = "UTC"
    """IANA name of the schedule's time zone."""


class Promotion(Model):
    """How the alias moves to the new collection."""

    mode: Literal["Automatic", "Manual"] = "Automatic"
    """Manual: wait for the annotation `teal.dev/promote: <planHash>`."""
    fence: Literal["WhenBusy", "Never"] = "WhenBusy"
    """WhenBusy: if writes never pause, hold them back with 429 for the moment of the cut-over."""
    quiet_wait: Annotated[timedelta, GoDuration("0s", "24h")] = timedelta(minutes=5)
    """How long to wait for a moment without writes before fencing."""
    max_fence: Annotated[timedelta, GoDuration("100ms", "60s")] = timedelta(seconds=10)
    """The longest that writers are answered 429. It says to retry after 60 s, but retrying sooner helps."""
    windows: Items[WindowSpec] = Field(
        default=(), max_length=16, json_schema_extra={"x-kubernetes-list-type": "atomic"}
    )
    """When the cut-over may happen; empty: at any time. First revisions and rollbacks do not wait."""


class HookSpec(Model):
    """A POST around the cut-over, which must be answered with 2xx. The same migration may ask twice."""

    url: HttpUrl
    """Receives planHash, migration, source, target, alias, resource and phase as JSON."""
    timeout: Annotated[timedelta, GoDuration("1s", "10m")] = timedelta(seconds=30)
    """How long to wait for each answer."""
    retries: int = Field(default=3, ge=0, le=100)
    """Further attempts after the first."""


class HooksSpec(Model):
    """Requests around the cut-over."""

    before_switch: HookSpec | None = None
    """After verification and approval, before the alias moves: a gate. While it is closed there is no cut-over,
    and it is asked again after 1, 5, 10 and 30 minutes. First revisions and rollbacks do not ask."""
    after_switch: HookSpec | None = None
    """After the alias has moved. A failure is reported and undoes nothing."""


class MigrationSpec(Model):
    """How a change is carried out."""

    strategy: Literal["Auto", "InPlaceOnly", "BlueGreen"] = "Auto"
    """Auto: in place where Qdrant can. InPlaceOnly: refuse a change that needs a new collection. BlueGreen:
    always a new collection."""
    writes: Literal["CatchUp", "DualWrite", "Frozen"] = "CatchUp"
    """What happens to writes meanwhile. CatchUp: Teal copies what changes. DualWrite: the application writes to
    both. Frozen: nobody writes."""
    change_field: FieldPath | None = None
    """Payload field with a number or a date that grows with every write; passes then look only at what is new,
    gone, or has a high value. The last one before the cut-over looks at all, where there is a dense vector."""
    runner: Literal["Auto", "InProcess", "Job"] = "Auto"
    """Who copies. InProcess: the operator. Job: pods of an Indexed Job."""
    parallelism: int = Field(default=4, ge=1, le=256)
    """Streams that copy at once."""
    allow_normalized: bool = False
    """Copy from a Cosine collection into another distance, though Cosine stores vectors normalised and their
    lengths are lost. True where the encoder's vectors have length 1 anyway."""
    throttle: ThrottleSpec = section(ThrottleSpec)
    """When population slows down."""
    promotion: Promotion = section(Promotion)
    """How the alias moves."""
    hooks: HooksSpec | None = None
    """Requests around the cut-over."""


class ConfigMapRef(Model):
    """A ConfigMap in the same namespace."""

    name: ObjectName
    """Name of the ConfigMap."""


class GoldenQueries(Model):
    """Queries whose right answers are known."""

    config_map_ref: ConfigMapRef
    """Under any key, YAML or JSON: a list of objects with `query` (text), `relevant` (ids) and, if wanted, `k`."""
    min_recall: Ratio
    """Share of those ids that the new collection must find among its first `k` results (10 unless said)."""


class Verification(Model):
    """What must be true of the new collection before it serves."""

    min_coverage: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the source's points that must be there."""
    sample: int = Field(default=1000, ge=0, le=1000000)
    """Points whose content is compared."""
    min_overlap: Ratio | None = None
    """Same encoder: share of the first ten results of the source that the new collection must give. Unset: 0.95,
    where both rank alike. Set, and they do not: the migration pauses."""
    golden_queries: GoldenQueries | None = None
    """Queries whose right answers are known, for an encoder whose results may be others and better."""
    max_latency_ratio: Factor | None = None
    """Search latency of the new collection as a multiple of the source's, at the median and the 95th percentile.
    Unset: 2. Times below 2 ms count as 2 ms."""


class PrometheusQuery(Model):
    """A query with the range that its value must stay in."""

    name: QdrantName
    """What it measures."""
    query: Annotated[str, Field(min_length=1, max_length=4096)]
    """PromQL with one value as its result."""
    min: float | None = None
    """The value below which the migration is rolled back."""
    max: float | None = None
    """The value above which the migration is rolled back."""

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
    """What is watched after the cut-over; a breach moves the alias back."""

    duration: Annotated[timedelta, GoDuration("0s", "168h")] = timedelta(minutes=30)
    """How long; 0s: not at all."""
    interval: Annotated[timedelta, GoDuration("1s", "1h")] = timedelta(seconds=30)
    """Time between two probes."""
    max_error_rate: Ratio = 0.05
    """Share of searches through the alias that may fail; more for two minutes is a breach."""
    max_latency_ratio: Factor = 2.0
    """95th percentile of the searches' latency, as a multiple of that before the cut-over; more for five minutes
    is a breach. Both times are a third of `duration` where that is shorter; below 10 ms nothing is slow."""
    prometheus: Prometheus | None = None
    """The user's own measurements."""


class Retention(Model):
    """What becomes of a collection that was replaced."""

    keep_for: Annotated[timedelta, GoDuration("0s", "8760h")] = timedelta(hours=48)
    """How long it is kept, so that reverting the spec rolls back at once."""
    snapshot: bool = True
    """Take a snapshot before it is deleted."""
