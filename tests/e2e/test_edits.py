"""Edits while something is going on: only the last declaration counts, and only its collection serves in the end.

A gate before Qdrant holds the first migration in each of its stages while the spec is edited, so that every stage
meets an edit for certain and not by luck.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devkit.cluster import Cluster, Manifest
from devkit.control_plane import ControlPlane
from tests.e2e.gate import Effect, Gate
from tests.e2e.support import COMPARED, FEW, LARGE, NAME, PROBES, SMALL, TEXTS, Docs, unharmed
from tests.plugins.operator import Resident, StartOperator
from tests.plugins.qdrant import Qdrant

STAGES = ["Populating", "CatchingUp", "Indexing", "Verifying", "AwaitingPromotion", "Promoting", "Watching"]
B = {**LARGE, "schemaVersion": "v2"}
C = {**LARGE, "schemaVersion": "v3", "distance": "Dot"}


@pytest.fixture
def gate(tenant: Docs) -> Iterator[Gate]:
    """A gate between the operator and Qdrant; `tenant` goes through it."""
    with Gate(tenant.qdrant, tenant.alias) as gate:
        tenant.through(gate.url, gate.grpc_port)
        yield gate


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def held_in(docs: Docs, gate: Gate, stage: str) -> str:
    """Declare B and hold its migration right after it has entered `stage`; the name of its green."""

    def entered(effect: Effect) -> bool:
        created = effect.name == "create v2" and stage == "Populating"
        marked = effect.name.startswith("patch v2 ") and effect.name.endswith(f" {stage}")
        return effect.when == "after" and (created or marked)

    gate.shut_at(entered)
    docs.apply(embedding_set=B)
    assert gate.wait_shut(alive=docs.operator_runs), docs.story()
    (green,) = (name for name in docs.collections() if f"{docs.alias}-v2-" in name)
    return green


def has_served(docs: Docs, green: str) -> bool:
    """Whether green served before another one did: known once it is retained, or given up."""

    def retained(found: Manifest) -> bool:
        return green in [row["collection"] for row in found["status"].get("retained", ())]

    what = f"done with {green}"
    return retained(docs.wait_for(lambda found: retained(found) or bool(docs.events("GreenAbandoned")), what=what))


def serves_alone(docs: Docs, *retained: str) -> None:
    """What is declared serves; besides it there is only what served before."""
    status = docs.wait_ready()
    active = status["active"]["collection"]
    assert docs.aliases()[docs.alias] == active
    assert f"{docs.alias}-next" not in docs.aliases()
    assert docs.collections() == {active, *retained}
    assert {row["collection"] for row in status.get("retained", ())} == set(retained)
    for name in docs.collections():
        assert "fence" not in docs.marks(name)


@pytest.mark.fault(11)
def test_another_goal_in_each_stage(gate: Gate, blue: Docs, stage: str) -> None:
    ledger = blue.load(FEW)
    old = blue.aliases()[blue.alias]
    green = held_in(blue, gate, stage)
    blue.apply(embedding_set=C)
    gate.go_on()
    blue.wait_ready()
    assert blue.audit(ledger).ok
    served = has_served(blue, green)
    serves_alone(blue, old, *([green] if served else []))
    assert len(blue.events("GreenAbandoned")) == (0 if served else 1)
    if stage in STAGES[:2]:
        assert not served
    if stage == "Watching":
        assert served


@pytest.mark.fault(11)
def test_back_to_where_it_was_in_each_stage(gate: Gate, blue: Docs, stage: str) -> None:
    ledger = blue.load(FEW)
    old = blue.aliases()[blue.alias]
    before = blue.truth(old)["collections"]
    green = held_in(blue, gate, stage)
    blue.apply(embedding_set={**SMALL, "schemaVersion": "v1"})
    gate.go_on()
    assert blue.wait_ready()["active"]["collection"] == old
    assert blue.audit(ledger).ok
    served = has_served(blue, green)
    serves_alone(blue, *([green] if served else []))
    assert len(blue.events("GreenAbandoned")) == (0 if served else 1)
    if stage in STAGES[:2]:
        assert not served
        assert blue.truth(old)["collections"] == before


@pytest.mark.fault(11)
def test_tuning_keeps_what_is_populated(gate: Gate, blue: Docs) -> None:
    ledger = blue.load(FEW)
    old = blue.aliases()[blue.alias]
    paid = blue.encoders.calls("teal").texts
    green = held_in(blue, gate, "Verifying")
    blue.apply(collection={"hnsw": {"m": 24}, "payloadIndexes": [{"field": "source", "type": "keyword"}]})
    gate.go_on()
    assert blue.wait_ready()["active"]["collection"] == green
    assert blue.audit(ledger).ok
    info = blue.info(green)
    assert info["config"]["hnsw_config"]["m"] == 24
    assert set(info["payload_schema"]) == {"source"}
    assert blue.encoders.calls("teal").texts - paid <= len(FEW) + PROBES + COMPARED
    assert blue.events("GreenAbandoned") == []
    assert gate.applied().count("create v2") == 1
    serves_alone(blue, old)


@pytest.mark.fault(11)
def test_an_edit_seconds_after_the_switch(blue: Docs) -> None:
    ledger = blue.load(FEW)
    old = blue.aliases()[blue.alias]
    blue.apply(embedding_set=B, collection={"watch": {"duration": "1h"}})
    blue.wait_phase("Watching")
    second = blue.aliases()[blue.alias]
    blue.apply(embedding_set=C, collection={"watch": {"duration": "1s"}})
    blue.wait_ready()
    assert blue.audit(ledger).ok
    serves_alone(blue, old, second)


def test_the_same_spec_again_is_nothing_new(blue: Docs) -> None:
    with unharmed(blue):
        events = len(blue.events())
        for _ in range(3):
            blue.apply()
        blue.look_again()
        assert len(blue.events()) == events


def test_several_migrate_at_once(resident: Resident, qdrant: Qdrant, tenant: Docs, prefix: str) -> None:
    crowd = [
        Docs(qdrant, tenant.encoders, f"{prefix}{n}", resident.cluster, name=f"{prefix}{n}") for n in range(4)
    ]
    ledgers = []
    for each in crowd:
        each.operators = tenant.operators
        each.declare()
    for number, each in enumerate(crowd):
        each.wait_ready()
        ledgers.append(each.load(TEXTS[50 * number : 50 * (number + 1)]))
    for each in crowd:
        each.apply(embedding_set=B)
    for each, ledger in zip(crowd, ledgers, strict=True):
        assert each.wait_ready()["active"]["points"] == len(ledger.points)
        assert each.audit(ledger).ok
    for each in crowd:
        each.withdraw()


def test_namesakes_in_two_namespaces(
    docs: Docs, operator: StartOperator, control_plane: ControlPlane, prefix: str
) -> None:
    with control_plane.api_client() as client:
        elsewhere = Cluster(control_plane.kubeconfig, client, f"{docs.cluster.namespace}-2")
        elsewhere.create_namespace()
        other = Docs(docs.qdrant, docs.encoders, f"{prefix}other", elsewhere)
        other.operators = docs.operators
        operator("-n", elsewhere.namespace)
        for each in (docs, other):
            each.declare()
        owners = [each.marks(each.wait_ready()["active"]["collection"])["owner"] for each in (docs, other)]
        assert [owner["name"] for owner in owners] == [NAME, NAME]
        assert [owner["namespace"] for owner in owners] == [docs.cluster.namespace, elsewhere.namespace]
        ledger = docs.load(FEW)
        other.load(TEXTS[100:150])
        with unharmed(other):
            docs.apply(embedding_set=B)
            docs.wait_ready()
        assert docs.audit(ledger).ok
        other.withdraw()
        if not control_plane.local:
            elsewhere.delete_namespace()
