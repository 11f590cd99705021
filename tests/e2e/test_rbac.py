"""deploy/install.yaml as a user applies it: the API server takes it whole, and its rights are enough and no more.

On a control plane of its own, because the operator serves all namespaces here, as its Deployment tells it to.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml
from kubernetes.client import (
    ApiException,
    AuthorizationV1Api,
    V1ResourceAttributes,
    V1SelfSubjectAccessReview,
    V1SelfSubjectAccessReviewSpec,
)
from kubernetes.dynamic import DynamicClient

from devkit.cluster import Cluster, Manifest
from devkit.control_plane import ControlPlane
from devkit.control_plane.kubeconfig import client
from devkit.embeddings import EmbeddingServer
from devkit.teal import Operator
from tests.e2e.support import NAME, PATIENCE, POLL_SECONDS, SECRET, Docs, is_true
from tests.plugins.qdrant import Qdrant

INSTALL = Path(__file__).parents[2] / "deploy" / "install.yaml"
ACCOUNT, NAMESPACE = "teal", "teal-system"


def documents() -> list[Manifest]:
    return list(yaml.safe_load_all(INSTALL.read_text()))


def one(kind: str) -> Manifest:
    (found,) = [each for each in documents() if each["kind"] == kind]
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane to which install.yaml was applied as by `kubectl apply --server-side`."""
    if os.environ.get("KUBECONFIG"):
        pytest.skip("this would install an operator's rights and definitions into the cluster of KUBECONFIG")
    cache = tmp_path_factory.mktemp("discovery") / "cache.json"
    with ControlPlane.start() as plane, plane.api_client() as api:
        dynamic = DynamicClient(api, cache_file=str(cache))
        for document in documents():
            resource = dynamic.resources.get(api_version=document["apiVersion"], kind=document["kind"])
            dynamic.server_side_apply(resource, body=document, field_manager="kubectl", force_conflicts=False)
        yield plane


@pytest.fixture(scope="module")
def account(installed: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig of the operator's service account."""
    return installed.kubeconfig_for(ACCOUNT, NAMESPACE, tmp_path_factory.mktemp("account") / "kubeconfig")


@pytest.fixture
def declared(installed: ControlPlane, qdrant: Qdrant, encoders: EmbeddingServer, prefix: str) -> Iterator[Docs]:
    with installed.api_client() as api:
        cluster = Cluster(installed.kubeconfig, api, f"team-{prefix}x")
        cluster.create_namespace()
        yield Docs(qdrant, encoders, f"{prefix}docs", cluster)


@contextmanager
def deployed(kubeconfig: Path) -> Iterator[Operator]:
    """The operator with the Deployment's own arguments; where it listens and its namespace are the test's."""
    (container,) = one("Deployment")["spec"]["template"]["spec"]["containers"]
    command, *arguments = container["args"]
    assert command == "run"
    at = arguments.index("--http-address")
    del arguments[at : at + 2]
    running = Operator.start(kubeconfig, *arguments, "--lease-namespace", NAMESPACE)
    try:
        yield running
    finally:
        running.stop()


def with_secret(docs: Docs) -> None:
    """A key from a Secret in any case: a Qdrant that needs none ignores it."""
    docs.edit(collection={"deletionPolicy": "Delete"})
    if not docs.qdrant.api_key:
        docs.cluster.create_secret(SECRET, {"key": "unused"})
        docs.edit(collection={"qdrant": {"apiKeySecretRef": {"name": SECRET, "key": "key"}}})
    docs.declare()


def wait_until_gone(docs: Docs) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_gone(docs):
        assert time.monotonic() < deadline, docs.story()
        time.sleep(POLL_SECONDS)


def is_gone(docs: Docs) -> bool:
    try:
        docs.resource()
    except ApiException as error:
        if error.status != 404:
            raise
        return True
    return False


def test_the_service_account_can_do_a_whole_migration(account: Path, declared: Docs) -> None:
    with deployed(account) as operator:
        declared.operators.append(operator)
        with_secret(declared)
        declared.wait_ready()
        ledger = declared.load()
        declared.apply(embedding_set={"distance": "Cosine"})
        status = declared.wait_ready()
        assert status["migration"]["strategy"] == "BlueGreen"
        assert declared.audit(ledger).ok
        assert is_true(declared.cluster.get("EmbeddingSet", NAME), "Ready")
        assert declared.events("CutoverCompleted")
        assert declared.resource()["metadata"]["finalizers"]
        declared.cluster.delete("VectorCollection", NAME)
        wait_until_gone(declared)
        assert declared.collections() == set()
        refused = [line for line in httpx.get(f"{operator.url}/metrics").text.splitlines() if 'code="403"' in line]
        assert refused == []
        assert "orbidden" not in operator.process.tail(10_000)


@pytest.mark.parametrize(
    ("verb", "group", "resource"),
    [
        ("list", "", "secrets"),
        ("watch", "", "secrets"),
        ("create", "", "secrets"),
        ("list", "", "namespaces"),
        ("get", "", "pods"),
        ("list", "apiextensions.k8s.io", "customresourcedefinitions"),
        ("patch", "teal.dev", "embeddingsets"),
        ("update", "teal.dev", "vectorcollections"),
        ("delete", "teal.dev", "vectorcollections"),
        ("create", "apps", "deployments"),
        ("patch", "coordination.k8s.io", "leases"),
        ("delete", "coordination.k8s.io", "leases"),
    ],
)
def test_the_service_account_may_not(account: Path, verb: str, group: str, resource: str) -> None:
    wanted = V1ResourceAttributes(verb=verb, group=group, resource=resource, namespace=NAMESPACE)
    review = V1SelfSubjectAccessReview(spec=V1SelfSubjectAccessReviewSpec(resource_attributes=wanted))
    with client(account) as api:
        answer = AuthorizationV1Api(api).create_self_subject_access_review(review)
    assert not answer.status.allowed


def test_the_pod_meets_the_namespace_s_security_level(installed: ControlPlane, tmp_path: Path) -> None:
    """The API server itself judges: a pod of the template is admitted, one that may be root is not."""
    template = one("Deployment")["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "teal", "namespace": NAMESPACE}}
    lax = {**template["spec"], "securityContext": {}}
    with installed.api_client() as api:
        pods = DynamicClient(api, cache_file=str(tmp_path / "cache.json")).resources.get(
            api_version="v1", kind="Pod"
        )
        assert pods.create(body={**pod, "spec": template["spec"]}, dry_run="All").metadata.name == "teal"
        with pytest.raises(ApiException, match="PodSecurity"):
            pods.create(body={**pod, "spec": lax}, dry_run="All")
