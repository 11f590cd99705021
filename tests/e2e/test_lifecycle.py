"""From the first apply to the deletion: adopting, retaining, going back, suspending, mending what others changed.

What nobody asked Teal to change stays as it was; what it has to delete, it deletes late, after a snapshot, and
never while somebody may still need it.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from kubernetes.client import ApiextensionsV1Api
from kubernetes.client.exceptions import ApiException

from devkit import paths
from devkit.clients import Ledger
from devkit.cluster import Manifest
from devkit.control_plane import ControlPlane
from devkit.qdrant import EmbeddedQdrant
from tests.e2e.support import (
    COMPARED,
    IN_FLIGHT,
    LARGE,
    POLL_SECONDS,
    PROBES,
    SMALL,
    Docs,
    condition,
    few,
    is_true,
    unharmed,
)
from tests.plugins.operator import Resident, StartOperator
from tests.plugins.qdrant import Qdrant

ANOTHER = {**LARGE, "schemaVersion": "v2"}
SLOW = {"kind": "hang", "seconds": 0.5, "times": None, "agent": "teal"}
SMALL_BATCHES = {"openAI": {"batchSize": 4}}


def spare(docs: Docs) -> str:
    """The collection beside the one that serves: green, or what is retained."""
    (name,) = docs.collections() - {docs.aliases()[docs.alias]}
    return name


def slowly(docs: Docs) -> str:
    """Begin a migration that lasts, and wait until green holds points; its name."""
    docs.encoders.faults(SLOW)
    docs.apply(embedding_set={**ANOTHER, "embedder": SMALL_BATCHES})
    docs.wait_phase("Populating")
    green = spare(docs)
    docs.wait_for(lambda _: docs.info(green)["points_count"] > 0, what=f"with points on {green}")
    return green


def point_alias(docs: Docs, alias: str, collection: str | None) -> None:
    """As somebody would by hand; `None` deletes it."""
    named = {"alias_name": alias}
    action = {"create_alias": {**named, "collection_name": collection}} if collection else {"delete_alias": named}
    with docs.http() as http:
        http.post("/collections/aliases", json={"actions": [action]}).raise_for_status()


# Created and adopted


def test_created_and_ready(tenant: Docs) -> None:
    tenant.declare()
    status = tenant.wait_ready()
    serving = status["active"]["collection"]
    assert tenant.aliases() == {tenant.alias: serving, f"{tenant.alias}-v1": serving}
    assert tenant.marks(serving)["encoder"] | SMALL == tenant.marks(serving)["encoder"]
    resource = tenant.resource()
    assert is_true(resource, "Available")
    assert {c["type"] for c in status["conditions"]} == {"Ready", "Available"}
    assert "finalizers" not in resource["metadata"]
    assert [e["reason"] for e in tenant.events()] == ["CollectionCreated", "AliasCreated"]


@pytest.fixture
def theirs(tenant: Docs) -> tuple[str, Ledger]:
    """A collection that an application made and filled by the same encoder, and that has no alias yet."""
    name = f"{tenant.alias}_theirs"
    encoder = {"model": SMALL["model"], "dimensions": 64, "schemaVersion": "v1", "url": tenant.encoders.url}
    with tenant.http() as http:
        body = {"vectors": {"size": 64, "distance": "Euclid"}, "metadata": {"teal.dev/encoder": encoder, "own": 1}}
        http.put(f"/collections/{name}", json=body).raise_for_status()
    tenant.edit(collection={"adopt": {"collection": name}, "hnsw": None, "payloadIndexes": None})
    return name, tenant.load(few(), name)


@pytest.mark.parametrize("with_alias", [True, False])
def test_adopted_as_it_is(tenant: Docs, theirs: tuple[str, Ledger], with_alias: bool) -> None:
    name, ledger = theirs
    if with_alias:
        point_alias(tenant, tenant.alias, name)
    before = tenant.info(name)["config"]
    tenant.declare()
    assert tenant.wait_ready()["active"]["collection"] == name
    assert tenant.aliases()[tenant.alias] == name
    after = tenant.info(name)["config"]
    assert after["metadata"]["own"] == 1
    assert {**after, "metadata": None} == {**before, "metadata": None}
    assert tenant.audit(ledger).ok
    assert len(tenant.events("CollectionAdopted")) == 1
    assert not any(event["type"] == "Warning" for event in tenant.events())


def test_adopted_migrated_and_retired(tenant: Docs, theirs: tuple[str, Ledger]) -> None:
    name, ledger = theirs
    tenant.declare()
    tenant.wait_ready()
    tenant.apply(embedding_set=ANOTHER)
    status = tenant.wait_ready()
    assert [row["collection"] for row in status["retained"]] == [name]
    assert tenant.audit(ledger).ok
    tenant.apply(collection={"retention": {"keepFor": "0s"}})
    tenant.wait_for(lambda found: "retained" not in found["status"], what="retired")
    assert tenant.collections() == {status["active"]["collection"], name}, "it is released, not deleted"
    assert set(tenant.marks(name)) == {"encoder", "own"}, "what its clients read, and what is theirs"
    tenant.wait_ready()
    assert len(tenant.events("CollectionAdopted")) == 1


def test_what_belongs_to_another_is_not_adopted(blue: Docs, resident: Resident, prefix: str) -> None:
    other = Docs(blue.qdrant, blue.encoders, f"{prefix}other", resident.cluster, name=f"{prefix}other")
    other.operators = blue.operators
    with unharmed(blue) as serving:
        other.apply(collection={"adopt": {"collection": serving}})
        found = other.wait_condition("Stalled", "CollectionNotOwned")
        assert f"{resident.cluster.namespace}/{blue.name}" in condition(found, "Stalled")["message"]  # type: ignore[index]
    assert other.aliases() == {}
    other.withdraw()


# Retained and retired


@pytest.fixture
def migrated(blue: Docs) -> str:
    """`blue` serves another distance now; the name of what it served before, which is retained for an hour."""
    old = blue.aliases()[blue.alias]
    blue.apply(embedding_set={"distance": "Cosine"})
    blue.wait_ready()
    return old


def test_kept_until_its_deadline_which_can_be_moved(blue: Docs, migrated: str) -> None:
    (kept,) = blue.status()["retained"]
    assert kept["collection"] == migrated
    blue.apply(collection={"retention": {"keepFor": "3h"}})
    blue.look_again()
    (longer,) = blue.status()["retained"]
    assert longer["retainUntil"] > kept["retainUntil"]
    assert blue.info(migrated)["points_count"] == len(few())
    blue.apply(collection={"retention": {"keepFor": "0s"}})
    blue.wait_for(lambda found: "retained" not in found["status"], what="retired")
    assert blue.collections() == {blue.aliases()[blue.alias]}
    assert set(blue.aliases().values()) == blue.collections()
    blue.wait_for(lambda _: blue.events("CollectionRetired"), what="telling so")
    (event,) = blue.events("CollectionRetired")
    assert f"{len(few())} points" in event["note"]
    assert "its snapshots are" in event["note"]


def test_an_alias_of_somebody_else_keeps_it(blue: Docs, migrated: str) -> None:
    point_alias(blue, f"{blue.alias}_reports", migrated)
    blue.apply(collection={"retention": {"keepFor": "0s"}})
    found = blue.wait_condition("Reconciling", "RetirementBlocked")
    assert f"{blue.alias}_reports" in condition(found, "Reconciling")["message"]  # type: ignore[index]
    assert is_true(found, "Ready"), "the collection that serves is the declared one"
    blue.look_again()
    assert len(blue.events("RetirementBlocked")) == 1
    with blue.http() as http:
        assert http.get(f"/collections/{migrated}/snapshots").raise_for_status().json()["result"] == []
    point_alias(blue, f"{blue.alias}_reports", None)
    blue.look_again()
    blue.wait_for(lambda found: "retained" not in found["status"], what="retired")
    (event,) = blue.events("CollectionRetired")
    assert f"its snapshots are {migrated}" in event["note"]


def test_a_failing_snapshot_keeps_it(blue: Docs, migrated: str, qdrant: Qdrant) -> None:
    failing = {"match": f"POST /collections/{migrated}/snapshots", "times": 0, "status": 500, "error": "disk full"}
    qdrant.need_faults().faults(**failing)
    blue.apply(collection={"retention": {"keepFor": "0s"}})
    found = blue.wait_condition("Reconciling", "QdrantFailed")
    assert "disk full" in condition(found, "Reconciling")["message"]  # type: ignore[index]
    assert is_true(found, "Ready"), "the collection that serves is the declared one"
    blue.look_again()
    assert migrated in blue.collections()
    qdrant.need_faults().faults()
    blue.look_again()
    blue.wait_for(lambda found: "retained" not in found["status"], what="retired")
    assert migrated not in blue.collections()


def test_reverting_the_spec_goes_back(blue: Docs, migrated: str) -> None:
    new = blue.aliases()[blue.alias]
    with blue.http() as http:
        point = {"id": 4242, "vector": [0.5] * 64, "payload": {"text": "since the cut-over"}}
        http.put(f"/collections/{blue.alias}/points?wait=true", json={"points": [point]}).raise_for_status()
    blue.apply(embedding_set={"distance": "Euclid"})
    status = blue.wait_ready()
    assert status["active"]["collection"] == migrated
    assert [row["collection"] for row in status["retained"]] == [new]
    assert status["history"][0]["outcome"] == "RolledBack"
    with blue.http() as http:
        found = http.get(f"/collections/{blue.alias}/points/4242").raise_for_status().json()["result"]
    assert found["payload"] == {"text": "since the cut-over"}


# Deleted


@pytest.mark.fault(21)
def test_deleted_but_retained(blue: Docs, migrated: str) -> None:
    assert "finalizers" not in blue.resource()["metadata"]
    before = blue.truth()
    blue.cluster.delete("VectorCollection", blue.name)
    blue.wait_gone()
    assert blue.truth() == before
    assert migrated in before["collections"]


@pytest.mark.fault(22)
def test_declared_again_it_is_the_same(blue: Docs) -> None:
    """A resource that was deleted and comes back from Git owns what it owned."""
    serving = blue.aliases()[blue.alias]
    blue.cluster.delete("VectorCollection", blue.name)
    blue.wait_gone()
    blue.apply()
    assert blue.wait_ready()["active"]["collection"] == serving
    assert blue.marks(serving)["owner"]["uid"] == blue.resource()["metadata"]["uid"]
    assert blue.info(serving)["points_count"] == len(few())


@pytest.mark.fault(21)
def test_deleted_with_what_it_made(blue: Docs, migrated: str) -> None:
    blue.apply(collection={"deletionPolicy": "Delete"})
    blue.wait_for(lambda found: found["metadata"].get("finalizers"), what="holding its deletion up")
    uid = blue.resource()["metadata"]["uid"]
    blue.cluster.delete("VectorCollection", blue.name)
    blue.wait_gone()
    assert blue.collections() == set()
    assert blue.aliases() == {}
    notes = [e["note"] for e in blue.cluster.events(uid) if e["reason"] == "CollectionDeleted"]
    assert len(notes) == 2
    assert all("its snapshots are" in note for note in notes)


def test_a_policy_that_changes_its_mind(blue: Docs) -> None:
    blue.apply(collection={"deletionPolicy": "Delete"})
    blue.wait_for(lambda found: found["metadata"].get("finalizers"), what="holding its deletion up")
    blue.apply(collection={"deletionPolicy": "Retain"})
    blue.wait_for(lambda found: not found["metadata"].get("finalizers"), what="free to go")


@pytest.mark.fault(21)
def test_deletion_waits_for_qdrant(tenant: Docs) -> None:
    with EmbeddedQdrant.start(rest_port=paths.free_port(), grpc_port=paths.free_port()) as server:
        where = {"url": server.url, "grpcPort": server.grpc_port, "apiKeySecretRef": None}
        tenant.qdrant = Qdrant(server.url, server.grpc_port)
        tenant.apply(collection={"qdrant": where, "deletionPolicy": "Delete"})
        tenant.wait_ready()
        tenant.load(few())
        server.kill()
        tenant.cluster.delete("VectorCollection", tenant.name)
        waiting = tenant.wait_for(
            lambda found: (condition(found, "Ready") or {}).get("reason") == "QdrantUnreachable", what="waiting"
        )
        assert waiting["status"]["phase"] == "Deleting"
        assert waiting["metadata"]["finalizers"]
        server.restart()
        tenant.wait_gone()
        assert tenant.collections() == set()


# Suspended


def test_suspended_nothing_moves(blue: Docs) -> None:
    paid = blue.encoders.calls("teal").texts
    slowly(blue)
    blue.apply(collection={"suspend": True})
    found = blue.wait_phase("Suspended")
    assert condition(found, "Ready")["reason"] == "Suspended"  # type: ignore[index]
    assert not is_true(found, "Reconciling")
    assert not is_true(found, "Stalled")
    blue.encoders.faults()
    before = blue.truth()
    for _ in range(2):
        blue.look_again()
    assert blue.truth() == before
    blue.apply(collection={"suspend": False})
    assert blue.wait_ready()["active"]["points"] == len(few())
    assert blue.encoders.calls("teal").texts - paid <= len(few()) + IN_FLIGHT + PROBES + COMPARED


@pytest.mark.fault(21)
@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_deleted_while_suspended(blue: Docs, policy: str) -> None:
    blue.apply(collection={"suspend": True, "deletionPolicy": policy})
    blue.wait_phase("Suspended")
    blue.cluster.delete("VectorCollection", blue.name)
    blue.wait_gone()
    assert bool(blue.collections()) is (policy == "Retain")


# What others change by hand


def test_drift_is_mended(docs: Docs, operator: StartOperator) -> None:
    """Seen at once after a restart, and within the drift interval (ten minutes) without."""
    docs.declare()
    first = operator()
    serving = docs.wait_ready()["active"]["collection"]
    ledger = docs.load(few())
    first.stop()
    with docs.http() as http:
        path = f"/collections/{serving}"
        http.delete(f"{path}/index/module?wait=true").raise_for_status()
        http.patch(path, json={"hnsw_config": {"m": 4}}).raise_for_status()
    point_alias(docs, docs.alias, None)
    point_alias(docs, f"{docs.alias}-v1", None)
    operator()
    docs.wait_for(lambda _: docs.aliases().get(f"{docs.alias}-v1") == serving, what="served again")
    docs.wait_for(lambda _: "module" in docs.info(serving)["payload_schema"], what="indexed again")
    docs.wait_for(lambda _: docs.info(serving)["config"]["hnsw_config"]["m"] == 8, what="tuned again")
    docs.wait_ready()
    assert docs.aliases()[docs.alias] == serving
    assert docs.audit(ledger).ok
    assert len(docs.events("AliasRestored")) == 1
    assert len(docs.events("ChangedInPlace")) == 1


def test_an_alias_on_an_unfinished_green_goes_back(blue: Docs) -> None:
    serving = blue.aliases()[blue.alias]
    green = slowly(blue)
    point_alias(blue, blue.alias, green)
    blue.wait_for(lambda _: blue.aliases()[blue.alias] == serving, what="back")
    blue.encoders.faults()
    assert blue.wait_ready()["active"]["collection"] == green
    assert blue.info(green)["points_count"] == len(few())
    assert len(blue.events("AliasRestored")) == 1


def test_a_green_that_is_gone_is_made_again(blue: Docs) -> None:
    with unharmed(blue), blue.http() as http:
        green = slowly(blue)
        http.delete(f"/collections/{green}").raise_for_status()
        blue.wait_for(lambda _: green in blue.collections(), what="made again")
    blue.encoders.faults()
    assert blue.wait_ready()["active"]["collection"] == green
    assert blue.info(green)["points_count"] == len(few())


def test_a_blue_that_is_gone_is_no_success(blue: Docs) -> None:
    serving = blue.aliases()[blue.alias]
    green = slowly(blue)
    with blue.http() as http:
        http.delete(f"/collections/{serving}").raise_for_status()
    found = blue.wait_condition("Stalled", "SourceGone")
    assert not is_true(found, "Ready")
    assert not is_true(found, "Available")
    message = condition(found, "Stalled")["message"]  # type: ignore[index]
    assert serving in message
    assert f"adopt.collection: {green}" in message
    held = blue.info(green)["points_count"]
    assert held > 0
    blue.encoders.faults()
    blue.look_again()
    assert blue.info(green)["points_count"] == held
    assert blue.alias not in blue.aliases()


# Stored before a rule was made


@contextmanager
def unchecked(control_plane: ControlPlane) -> Iterator[None]:
    """The CustomResourceDefinition as one that checks nothing, for as long as the block runs."""
    name = "vectorcollections.teal.dev"
    with control_plane.api_client() as client:
        api = ApiextensionsV1Api(client)
        checked = client.sanitize_for_serialization(api.read_custom_resource_definition(name))["spec"]["versions"]
        loose = copy.deepcopy(checked)
        schema = loose[0]["schema"]["openAPIV3Schema"]
        del schema["x-kubernetes-validations"]
        schema["properties"]["spec"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        api.patch_custom_resource_definition(name, {"spec": {"versions": loose}})
        try:
            yield
        finally:
            api.patch_custom_resource_definition(name, {"spec": {"versions": checked}})


def apply_when_unchecked(docs: Docs, manifest: Manifest) -> None:
    """The API server takes a moment to follow a changed definition."""
    deadline = time.monotonic() + 30
    while True:
        try:
            docs.cluster.apply([docs.embedding_set, manifest])
        except ApiException:
            assert time.monotonic() < deadline
            time.sleep(POLL_SECONDS)
        else:
            return


def test_a_spec_that_no_api_server_checked(tenant: Docs, control_plane: ControlPlane) -> None:
    """As one has that was stored before a rule was made."""
    if not control_plane.local:
        pytest.skip("the definitions of somebody else's cluster are not to be tampered with")
    wrong = copy.deepcopy(tenant.collection)
    wrong["spec"]["shardNumber"] = -1
    with unchecked(control_plane):
        apply_when_unchecked(tenant, wrong)
    message = condition(tenant.wait_condition("Stalled", "InvalidSpec"), "Stalled")["message"]  # type: ignore[index]
    assert "spec.shardNumber: must be greater than or equal to 1, got -1" in message
    assert tenant.collections() == set()
