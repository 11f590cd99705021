"""The metrics of the operator: `teal_*`, with the unit in the name, in a registry of their own.

Metrics of resources are read from the cache at every scrape: they are right after a restart, and gone with the
resource. Only events are counted when they happen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

import teal
from teal.api.conditions import AVAILABLE, READY, STALLED
from teal.controller.cache import ResourceState

SECONDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0)
RESOURCE = ["namespace", "name"]
SHOWN_CONDITIONS = (READY, AVAILABLE, STALLED)


class QueueState(Protocol):
    """The part of a queue that is measured."""

    @property
    def ready(self) -> int: ...
    @property
    def running(self) -> int: ...
    @property
    def scheduled(self) -> int: ...


class Metrics:
    """All metrics of one operator."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        Gauge("teal_build_info", "Always 1.", ["version"], registry=registry).labels(teal.__version__).set(1)
        self._depth = Gauge(
            "teal_queue_keys",
            "Resources in the work queue: ready (due, waiting for a slot), running, scheduled (for later).",
            ["state"],
            registry=registry,
        )
        self.queue_wait = Histogram(
            "teal_queue_wait_seconds",
            "Seconds that a resource waited after it was due.",
            buckets=SECONDS,
            registry=registry,
        )
        self.reconcile_seconds = Histogram(
            "teal_reconcile_seconds",
            "Seconds that one reconcile of a resource took.",
            ["kind"],
            buckets=SECONDS,
            registry=registry,
        )
        self.reconciles = Counter(
            "teal_reconciles_total",
            "Reconciles of resources: unchanged (nothing to write), written, failed (is repeated), gone.",
            ["kind", "outcome"],
            registry=registry,
        )
        self.requests = Counter(
            "teal_kubernetes_requests_total",
            "Requests to the API server, watches excepted; code 0: no answer.",
            ["method", "resource", "code"],
            registry=registry,
        )
        self.watch_events = Counter(
            "teal_watch_events_total",
            "Events of watches, initial lists included.",
            ["kind", "type"],
            registry=registry,
        )
        self.missed = Counter(
            "teal_watch_missed_total",
            "Changes that a list showed and the watches had missed: edit or deletion.",
            ["kind", "what"],
            registry=registry,
        )
        self.informer_restarts = Counter(
            "teal_informer_restarts_total",
            "How often watching ended with an error and started again.",
            registry=registry,
        )
        self.leader = Gauge("teal_leader", "1 in the operator that works, 0 in a standby.", registry=registry)
        self.loop_lag = Gauge(
            "teal_event_loop_lag_seconds",
            "Recent delay of a timer of the event loop, in seconds.",
            registry=registry,
        )

    def watch_queue(self, queue: QueueState) -> None:
        """Show the depth of `queue` at every scrape."""
        self._depth.labels("ready").set_function(lambda: queue.ready)
        self._depth.labels("running").set_function(lambda: queue.running)
        self._depth.labels("scheduled").set_function(lambda: queue.scheduled)

    def watch_resources(self, states: Callable[[], Iterable[ResourceState]]) -> None:
        """Show phase, conditions and progress of every VectorCollection at every scrape."""
        self.registry.register(_Resources(states))

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Resources(Collector):
    def __init__(self, states: Callable[[], Iterable[ResourceState]]) -> None:
        self._states = states

    def collect(self) -> Iterator[Metric]:
        phase = GaugeMetricFamily(
            "teal_vector_collection_phase", "1 for the phase that it is in.", labels=[*RESOURCE, "phase"]
        )
        condition = GaugeMetricFamily(
            "teal_vector_collection_condition",
            "1 if the condition is True, else 0.",
            labels=[*RESOURCE, "condition"],
        )
        progress = GaugeMetricFamily(
            "teal_vector_collection_migration_progress_ratio",
            "Share of the migration's points that are in the new collection, 0 to 1.",
            labels=RESOURCE,
        )
        for state in self._states():
            name = [state.namespace, state.name]
            if state.phase:
                phase.add_metric([*name, state.phase], 1)
            for each in SHOWN_CONDITIONS:
                condition.add_metric([*name, each], each in state.true_conditions)
            if state.progress is not None:
                progress.add_metric(name, state.progress)
        yield from (phase, condition, progress)
