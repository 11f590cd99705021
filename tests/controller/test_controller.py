"""The controller as a whole, between a fake API server and a fake engine: fed by events, as a watch would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from teal.controller.controller import INITIAL_PATIENCE, Controller, ControllerOptions
from teal.controller.kube import ApiServerError
from teal.controller.metrics import Metrics
from teal.controller.objects import Kind
from tests.controller.fakes import FakeEngine, FakeKube, embedding_set, ref, until, vector_collection
from tests.unit.migration.swift_loop import SwiftLoop

pytestmark = pytest.mark.loop(factory=SwiftLoop)

VCOL, ESET = Kind.VECTOR_COLLECTION, Kind.EMBEDDING_SET


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube()


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def controller(kube: FakeKube, engine: FakeEngine) -> AsyncIterator[Controller]:
    controller = Controller(kube, engine, Metrics(), ControllerOptions(), clock=asyncio.get_running_loop().time)
    yield controller
    await controller.stop(grace=5)


async def test_nothing_is_looked_at_before_all_is_known(
    kube: FakeKube, engine: FakeEngine, controller: Controller
) -> None:
    kube.apply(embedding_set())
    obj = kube.apply(vector_collection(embedding_set="minilm"))
    controller.observe(VCOL, None, obj)
    controller.start()
    await asyncio.sleep(INITIAL_PATIENCE - 1)
    assert engine.seen == []
    assert not controller.synced
    controller.observe(ESET, None, kube.objects[ref("minilm", ESET)])
    await controller.wait_synced()
    await until(lambda: engine.seen)
    assert engine.seen[0].embedding_set is not None


async def test_the_first_list_is_tried_until_it_succeeds(kube: FakeKube, controller: Controller) -> None:
    kube.fail["list"] = [ApiServerError("no answer")] * 3
    controller.start()
    await controller.wait_synced()
    assert kube.fail["list"] == []


async def test_edits_deletions_and_edits_of_sets_are_looked_at(
    kube: FakeKube, engine: FakeEngine, controller: Controller
) -> None:
    controller.start()
    await controller.wait_synced()
    controller.observe(VCOL, "ADDED", kube.apply(vector_collection(embedding_set="minilm")))
    await until(lambda: len(engine.seen) == 1)
    controller.observe(ESET, "ADDED", kube.apply(embedding_set()))
    await until(lambda: len(engine.seen) == 2)
    assert engine.seen[1].embedding_set is not None
    controller.observe(ESET, "MODIFIED", kube.apply(embedding_set(dimensions=8)))
    await until(lambda: len(engine.seen) == 3)
    obj = kube.objects[ref()]
    kube.delete(ref())
    controller.observe(VCOL, "DELETED", obj)
    await until(lambda: engine.forgotten)
    assert engine.forgotten == [obj["metadata"]["uid"]]


async def test_the_echo_of_a_status_write_is_not_looked_at(
    kube: FakeKube, engine: FakeEngine, controller: Controller
) -> None:
    controller.start()
    await controller.wait_synced()
    controller.observe(VCOL, "ADDED", kube.apply(vector_collection()))
    await until(lambda: kube.writes)
    controller.observe(VCOL, "MODIFIED", kube.objects[ref()])
    controller.observe(VCOL, "ADDED", kube.apply(vector_collection("another")))
    await until(lambda: len(kube.writes) == 2)
    assert [seen.name for seen in engine.seen] == ["docs", "another"]


async def test_a_deletion_that_no_watch_told_is_found(
    kube: FakeKube, engine: FakeEngine, controller: Controller
) -> None:
    obj = kube.apply(vector_collection())
    controller.observe(VCOL, None, obj)
    controller.start()
    await until(lambda: engine.seen)
    kube.delete(ref())
    assert await controller.sweep(patience=0) == 1
    await until(lambda: engine.forgotten)


async def test_metrics_show_every_resource(kube: FakeKube, engine: FakeEngine) -> None:
    metrics = Metrics()
    controller = Controller(kube, engine, metrics, ControllerOptions())
    kube.apply(vector_collection())
    status = {"phase": "Populating", "conditions": [{"type": "Available", "status": "True"}]}
    controller.observe(VCOL, None, kube.set_status(ref(), status))
    text = metrics.render().decode()
    assert 'teal_vector_collection_phase{name="docs",namespace="search",phase="Populating"} 1.0' in text
    assert 'teal_vector_collection_condition{condition="Available",name="docs",namespace="search"} 1.0' in text
    assert 'teal_vector_collection_condition{condition="Ready",name="docs",namespace="search"} 0.0' in text
    assert 'teal_queue_keys{state="ready"} 1.0' in text
    assert 'teal_watch_events_total{kind="VectorCollection",type="LISTED"} 1.0' in text
