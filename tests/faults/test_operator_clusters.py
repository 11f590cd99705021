"""Two clusters share one Qdrant: the marks say whose a collection is, and the other one touches nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kubernetes.client import ApiextensionsV1Api

from devkit.cluster import Cluster
from devkit.control_plane import ControlPlane
from devkit.control_plane.definitions import apply as apply_definitions
from devkit.teal import operator as running_operator
from tests.e2e.gate import Gate, named
from tests.e2e.support import COMPARED, LARGE, PROBES, Docs, condition, few, is_true, unharmed
from tests.plugins.control_plane import CRDS
from tests.plugins.operator import Resident
from tests.plugins.qdrant import Qdrant

B = {**LARGE, "schemaVersion": "v2"}
DEFINITIONS = ("vectorcollections.teal.dev", "embeddingsets.teal.dev")


@pytest.fixture(scope="module")
def other_plane(local_only: None) -> Iterator[ControlPlane]:
    """A second cluster, of this file's own."""
    with ControlPlane.start(CRDS) as plane:
        yield plane


@pytest.fixture(scope="module")
def local_only(control_plane: ControlPlane) -> None:
    if not control_plane.local:
        pytest.skip("with KUBECONFIG there is one cluster, and it is somebody else's")


@pytest.fixture(scope="module")
def elsewhere(other_plane: ControlPlane, resident: Resident) -> Iterator[Resident]:
    """An operator in the second cluster, for a namespace of the same name."""
    with other_plane.api_client() as client:
        cluster = Cluster(other_plane.kubeconfig, client, resident.cluster.namespace)
        cluster.create_namespace()
        with running_operator(other_plane.kubeconfig, "-n", cluster.namespace, "--resync", "3") as operator:
            yield Resident(cluster, operator)


@pytest.fixture
def namesake(tenant: Docs, elsewhere: Resident) -> Iterator[Docs]:
    """`tenant` in the other cluster: namespace, name and alias are the same."""
    docs = Docs(tenant.qdrant, tenant.encoders, tenant.alias, elsewhere.cluster, name=tenant.name)
    docs.operators.append(elsewhere.operator)
    yield docs
    docs.withdraw()


def stalled_for(docs: Docs, *reasons: str) -> str:
    """The message, once `docs` is Stalled for one of `reasons`."""
    found = docs.wait_for(
        lambda found: is_true(found, "Stalled") and condition(found, "Stalled")["reason"] in reasons,  # type: ignore[index]
        what="stalled",
    )
    return str(condition(found, "Stalled")["message"])  # type: ignore[index]


@pytest.mark.fault(9)
def test_an_alias_that_another_cluster_serves(blue: Docs, namesake: Docs) -> None:
    namesake.edit(embedding_set=B, collection={"deletionPolicy": "Delete"})
    with unharmed(blue) as serving:
        before = blue.truth()
        namesake.apply()
        message = stalled_for(namesake, "AliasNotOwned")
        assert blue.marks(serving)["owner"]["cluster"] in message
        namesake.look_again()
        assert blue.truth() == before

    blue.apply(embedding_set={"distance": "Cosine"})
    blue.wait_ready()
    namesake.look_again()
    assert blue.info(blue.alias)["points_count"] == len(few())
    assert not [name for name in blue.collections() if "-v2-" in name]

    before = blue.truth()
    namesake.cluster.delete("VectorCollection", namesake.name)
    namesake.wait_gone()
    assert blue.truth() == before


@pytest.mark.fault(9)
def test_declared_in_both_at_once(tenant: Docs, namesake: Docs) -> None:
    """One wins; when it withdraws, the other one gets the alias."""
    pair = (tenant, namesake)
    for each in pair:
        each.edit(collection={"deletionPolicy": "Delete"})
    for each in pair:
        each.apply()
    tenant.until(lambda: any(map(ready, pair)) and any(map(stalled, pair)), "won by one of them")
    winner, loser = pair if ready(tenant) else (namesake, tenant)
    with unharmed(winner) as serving:
        loser.look_again()
        assert winner.marks(serving)["owner"]["uid"] == winner.resource()["metadata"]["uid"]
        assert winner.collections() == {serving}
    winner.cluster.delete("VectorCollection", winner.name)
    winner.wait_gone()
    serving = loser.wait_ready()["active"]["collection"]
    assert loser.marks(serving)["owner"]["uid"] == loser.resource()["metadata"]["uid"]


def ready(docs: Docs) -> bool:
    return is_true(docs.resource(), "Ready")


def stalled(docs: Docs) -> bool:
    return is_true(docs.resource(), "Stalled")


def defined(api: ApiextensionsV1Api) -> list[str]:
    """The definitions of ours that the cluster still has."""
    found = api.list_custom_resource_definition().items
    return [each.metadata.name for each in found if each.metadata.name in DEFINITIONS]


@pytest.mark.fault(21)
def test_definitions_that_are_deleted_in_the_midst_of_a_copy(
    elsewhere: Resident, other_plane: ControlPlane, namesake: Docs, qdrant: Qdrant
) -> None:
    """All resources go with them. Nothing in Qdrant does; and declared again, it goes on."""
    with Gate(qdrant, namesake.alias) as gate, other_plane.api_client() as client:
        namesake.through(gate.url, gate.grpc_port)
        namesake.declare()
        namesake.wait_ready()
        ledger = namesake.load(few())
        spent = namesake.encoders.calls("teal").texts
        gate.shut_at(named("before patch v2 migration CatchingUp"))
        namesake.apply(embedding_set=B)
        assert gate.wait_shut(alive=namesake.operator_runs), namesake.story()
        serving, green = namesake.aliases()[namesake.alias], namesake.version("v2")
        definitions = ApiextensionsV1Api(client)
        for name in DEFINITIONS:
            definitions.delete_custom_resource_definition(name)
        gate.go_on()
        namesake.until(lambda: not any(defined(definitions)), "without definitions")
        assert namesake.collections() == {serving, green}
        apply_definitions(other_plane.kubeconfig, CRDS)
        namesake.apply()
        assert namesake.wait_ready()["active"]["collection"] == green
        assert namesake.audit(ledger).ok
        assert namesake.encoders.calls("teal").texts - spent <= len(few()) + 2 * PROBES + COMPARED
