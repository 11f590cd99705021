"""Edits while something is going on: only the last declaration counts, and only its collection serves in the end.

A gate before Qdrant holds the first migration in each of its stages while the spec is edited, so that every stage
meets an edit for certain and not by luck.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from devkit.clients import Ledger
from devkit.cluster import Cluster, Manifest
from devkit.control_plane import ControlPlane
from tests.e2e.gate import Effect, Gate
from tests.e2e.support import COMPARED, LARGE, NAME, PROBES, SMALL, Docs, few, texts, unharmed
from tests.plugins.operator import Gather, StartOperator
from tests.plugins.qdrant import Qdrant

STAGES = ["Populating", "CatchingUp", "Indexing", "Verifying", "AwaitingPromotion", "Promoting", "Watching"]
B = {**LARGE, "schemaVersion": "v2"}
C = {**LARGE, "schemaVersion": "v3", "distance": "Dot"}


class Migrating(NamedTuple):
    """Documents whose migration to B is held."""

    docs: Docs
    gate: Gate
    ledger: Ledger


Held = dict[str, Migrating]


@pytest.fixture
def held(crowd: Gather, qdrant: Qdrant) -> Iterator[Held]:
    """By stage: documents whose migration to B is held right after it has entered that stage."""
    gated: dict[str, tuple[Docs, Gate]] = {}
    found: Held = {}
    with ExitStack() as gates:
        for stage, docs in zip(STAGES, crowd(*STAGES), strict=True):
            gate = gates.enter_context(Gate(qdrant, docs.alias))
            docs.through(gate.url, gate.grpc_port)
            docs.declare()
            gate.shut_at(entering(stage))
            gated[stage] = docs, gate
        for stage, (docs, gate) in gated.items():
            docs.wait_ready()
            found[stage] = Migrating(docs, gate, docs.load(few()))
        for docs, _, _ in found.values():
            docs.apply(embedding_set=B)
        for docs, gate, _ in found.values():
            assert gate.wait_shut(alive=docs.operator_runs), docs.story()
        yield found


def entering(stage: str) -> Callable[[Effect], bool]:
    def entered(effect: Effect) -> bool:
        created = effect.name == "create v2" and stage == "Populating"
        marked = effect.name.startswith("patch v2 ") and effect.name.endswith(f" {stage}")
        return effect.when == "after" and (created or marked)

    return entered


def held_in(docs: Docs, gate: Gate, stage: str) -> str:
    """Declare B and hold its migration right after it has entered `stage`; the name of its green."""
    gate.shut_at(entering(stage))
    docs.apply(embedding_set=B)
    assert gate.wait_shut(alive=docs.operator_runs), docs.story()
    return docs.version("v2")


def has_served(docs: Docs, green: str) -> bool:
    """Whether `green` (how its name begins) has served: known once it is retained, or given up."""

    def retained(found: Manifest) -> bool:
        return any(row["collection"].startswith(green) for row in found["status"].get("retained", ()))

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
def test_another_goal_in_each_stage(held: Held) -> None:
    served = {}
    for docs, gate, _ in held.values():
        docs.apply(embedding_set=C)
        gate.go_on()
    for stage, (docs, _, ledger) in held.items():
        old, green = docs.version("v1"), f"{docs.alias}-v2-"
        docs.wait_ready()
        assert docs.audit(ledger).ok
        served[stage] = has_served(docs, green)
        serves_alone(docs, old, *([docs.version("v2")] if served[stage] else []))
        assert len(docs.events("GreenAbandoned")) == (0 if served[stage] else 1)
    assert not any(served[stage] for stage in STAGES[:2])
    assert served["Watching"]


@pytest.mark.fault(11)
def test_back_to_where_it_was_in_each_stage(held: Held) -> None:
    served = {}
    before = {stage: docs.truth(docs.version("v1"))["collections"] for stage, (docs, _, _) in held.items()}
    for docs, gate, _ in held.values():
        docs.apply(embedding_set={**SMALL, "schemaVersion": "v1"})
        gate.go_on()
    for stage, (docs, _, ledger) in held.items():
        old, green = docs.version("v1"), f"{docs.alias}-v2-"
        assert docs.wait_ready()["active"]["collection"] == old
        assert docs.audit(ledger).ok
        served[stage] = has_served(docs, green)
        serves_alone(docs, *([docs.version("v2")] if served[stage] else []))
        assert len(docs.events("GreenAbandoned")) == (0 if served[stage] else 1)
    for stage in STAGES[:2]:
        docs = held[stage].docs
        assert not served[stage]
        assert docs.truth(docs.version("v1"))["collections"] == before[stage]


@pytest.mark.fault(11)
def test_tuning_keeps_what_is_populated(gate: Gate, blue: Docs) -> None:
    ledger = blue.load(few())
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
    # It is verified before the edit and after it.
    assert blue.encoders.calls("teal").texts - paid <= len(few()) + PROBES + 2 * COMPARED
    assert blue.events("GreenAbandoned") == []
    assert gate.applied().count("create v2") == 1
    serves_alone(blue, old)


@pytest.mark.fault(11)
def test_an_edit_seconds_after_the_cutover(blue: Docs) -> None:
    ledger = blue.load(few())
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


def test_several_migrate_at_once(crowd: Gather) -> None:
    several = crowd(*"abcd")
    ledgers = []
    for each in several:
        each.declare()
    for number, each in enumerate(several):
        each.wait_ready()
        ledgers.append(each.load(texts()[50 * number : 50 * (number + 1)]))
    for each in several:
        each.apply(embedding_set=B)
    for each, ledger in zip(several, ledgers, strict=True):
        assert each.wait_ready()["active"]["points"] == len(ledger.points)
        assert each.audit(ledger).ok


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
        ledger = docs.load(few())
        other.load(texts()[100:150])
        with unharmed(other):
            docs.apply(embedding_set=B)
            docs.wait_ready()
        assert docs.audit(ledger).ok
        other.withdraw()
        if not control_plane.local:
            elsewhere.delete_namespace()
