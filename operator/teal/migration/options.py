"""How a resource wants to be migrated, in plain units: seconds, counts and ratios."""

from __future__ import annotations

from dataclasses import dataclass, field

from teal.domain.watching import WatchLimits
from teal.domain.windows import Window
from teal.domain.writes import WriteMode


@dataclass(frozen=True)
class Hook:
    """A request before or after the cut-over; `timeout` in seconds for each of `retries` + 1 attempts."""

    url: str
    timeout: float = 30.0
    retries: int = 3


@dataclass(frozen=True)
class BoundedQuery:
    """A Prometheus query and the range that its value must stay in."""

    name: str
    query: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Options:
    """How to migrate: the resource's `migration`, `verification` and `watch`, in plain units (seconds).

    Attributes:
        batch: points in a request while green is populated and caught up.
        carry_batch: points at once that go from one live collection to the other.
        embedding_batch: points in a request where vectors are made anew.
        change_field: the payload field that grows with every write.
        trust_change_field: whether the last passes before the cut-over may go by it, too.
        latency_warm_up: searches on each side that are made before latency is measured.
        latency_searches: searches on each side whose latency is measured.
    """

    parallelism: int = 4
    batch: int = 500
    carry_batch: int = 250
    embedding_batch: int = 32
    max_read_latency: float | None = None
    change_field: str | None = None
    trust_change_field: bool = False
    writes: WriteMode = WriteMode.CATCH_UP
    fence: bool = True
    quiet_wait: float = 300.0
    max_stall: float = 1.0
    max_fence: float = 10.0
    min_coverage: float = 1.0
    sample: int = 1000
    latency_warm_up: int = 20
    latency_searches: int = 100
    min_overlap: float | None = None
    min_recall: float | None = None
    max_latency_ratio: float | None = None
    manual: bool = False
    windows: tuple[Window, ...] = ()
    before_switch: Hook | None = None
    after_switch: Hook | None = None
    watch: WatchLimits = field(default_factory=WatchLimits)
    prometheus: str | None = None
    queries: tuple[BoundedQuery, ...] = ()
    snapshot: bool = True
    delete_adopted: bool = False
    max_tokens: int | None = None
