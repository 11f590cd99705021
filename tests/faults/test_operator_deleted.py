"""Deleted at the worst of moments: what the policy keeps is kept whole, and what it gives up is gone, to the end.

A namespace that is deleted is emptied by the test, as a cluster's own controller would: its Lease as well.
"""

from __future__ import annotations

import pytest
from kubernetes.client import CoordinationV1Api

from devkit.control_plane import ControlPlane
from teal.controller.election import NAME as LEASE
from tests.e2e.gate import Gate, named
from tests.e2e.support import LARGE, Docs, few, unharmed
from tests.plugins.operator import StartOperator

B = {**LARGE, "schemaVersion": "v2"}
RAISED = "after patch v1 strict_mode_config to 1"


def held(docs: Docs, gate: Gate, name: str) -> None:
    """Begin a migration and hold it at an effect."""
    gate.shut_at(named(name))
    docs.apply(embedding_set=B)
    assert gate.wait_shut(alive=docs.operator_runs), docs.story()


@pytest.mark.fault(21)
def test_retained_in_the_midst_of_a_copy(gate: Gate, blue: Docs) -> None:
    with unharmed(blue) as serving:
        held(blue, gate, "before upsert v2 in Populating")
        green = blue.version("v2")
        blue.cluster.delete("VectorCollection", blue.name)
        blue.wait_gone()
        gate.go_on()
        assert blue.collections() == {serving, green}
    blue.apply()
    assert blue.wait_ready()["active"]["collection"] == green
    assert blue.info(green)["points_count"] == len(few())


@pytest.mark.fault(21)
def test_retained_while_writers_are_held_back(gate: Gate, blue: Docs) -> None:
    """Nobody is left to lift the fence but who has put it up, so the resource does not go before."""
    ledger = blue.load(few())
    blue.edit(collection={"migration": {"promotion": {"quietWait": "0s"}}})
    with blue.clients(ledger, readers=0) as clients:
        held(blue, gate, RAISED)
        blue.cluster.delete("VectorCollection", blue.name)
        gate.go_on()
        blue.wait_gone()
        blue.no_fence()
    assert clients.counts().failures == 0, clients.counts()
    assert blue.audit(clients.ledger).ok


@pytest.mark.fault(21)
@pytest.mark.parametrize("status", ["kept", "wiped"])
def test_retained_after_the_operator_that_held_writers_back_was_killed(
    docs: Docs, operator: StartOperator, status: str
) -> None:
    """The finalizer on the object and the mark on the collection say what is to be done, the status does not."""
    with Gate(docs.qdrant, docs.alias) as gate:
        docs.through(gate.url, gate.grpc_port)
        docs.edit(collection={"migration": {"promotion": {"quietWait": "0s"}}})
        docs.declare()
        first = operator("--no-lease")
        docs.wait_ready()
        with docs.clients(docs.load(few()), readers=0) as clients:
            held(docs, gate, RAISED)
            first.kill()
            gate.abandon()
            if status == "wiped":
                docs.wipe_status()
            docs.cluster.delete("VectorCollection", docs.name)
            assert docs.resource()["metadata"]["finalizers"] == ["teal.dev/fence"]
            assert bool(docs.status()) is (status == "kept")
            operator("--no-lease")
            docs.wait_gone()
            docs.no_fence()
        assert clients.counts().failures == 0, clients.counts()
        assert docs.audit(clients.ledger).ok


@pytest.mark.fault(21)
@pytest.mark.parametrize("name", ["before upsert v2 in Populating", "after alias create alias v2"])
def test_given_up_in_a_migration(gate: Gate, blue: Docs, name: str) -> None:
    blue.apply(collection={"deletionPolicy": "Delete"})
    held(blue, gate, name)
    blue.cluster.delete("VectorCollection", blue.name)
    gate.go_on()
    blue.wait_gone()
    assert blue.collections() == set()
    assert blue.aliases() == {}


@pytest.mark.fault(21)
def test_given_up_while_the_api_server_hears_of_nothing(
    gate: Gate, blue: Docs, local_control_plane: ControlPlane
) -> None:
    """Nothing is left when the deletion may end, and it ends though its end could not be told at once."""
    blue.apply(collection={"deletionPolicy": "Delete"})
    blue.wait_for(lambda found: found["metadata"].get("finalizers"), what="holding its deletion up")
    gate.shut_at(named("before drop v1"))
    blue.cluster.delete("VectorCollection", blue.name)
    assert gate.wait_shut(alive=blue.operator_runs), blue.story()
    assert blue.resource()["metadata"]["finalizers"]
    local_control_plane.pause_api_server()
    try:
        gate.go_on()
        blue.until(lambda: not blue.collections(), "gone from Qdrant")
    finally:
        local_control_plane.resume_api_server()
    blue.wait_gone()
    assert blue.aliases() == {}


@pytest.mark.fault(21)
@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_a_namespace_that_is_deleted_in_the_midst_of_a_copy(
    docs: Docs, operator: StartOperator, control_plane: ControlPlane, policy: str
) -> None:
    """Nothing can be made in it any more, neither Event nor Lease, and yet it can go."""
    with Gate(docs.qdrant, docs.alias) as gate, control_plane.api_client() as client:
        docs.through(gate.url, gate.grpc_port)
        docs.edit(collection={"deletionPolicy": policy})
        docs.declare()
        operator()
        docs.wait_ready()
        docs.load(few())
        held(docs, gate, "before upsert v2 in Populating")
        names = docs.collections()
        docs.cluster.delete_namespace()
        CoordinationV1Api(client).delete_namespaced_lease(LEASE, docs.cluster.namespace)
        docs.cluster.delete_all()
        gate.go_on()
        docs.wait_gone()
        assert docs.collections() == (names if policy == "Retain" else set())
        assert bool(docs.aliases()) is (policy == "Retain")
