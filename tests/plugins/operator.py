"""Fixtures of tests with a whole operator: it, a namespace of a real API server, an engine, real encoders.

Servers live for the session, and so does one operator for all tests that do not harm it: starting one takes
longer than most of them. Who kills operators has a namespace, an alias and operators of its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from devkit.cluster import Cluster
from devkit.control_plane import ControlPlane
from devkit.embeddings import EmbeddingServer
from devkit.teal import Operator
from devkit.teal import operator as running_operator
from tests.e2e.gate import Gate
from tests.e2e.support import LARGE, SMALL, Docs, few
from tests.plugins.qdrant import Qdrant

StartOperator = Callable[..., Operator]
Gather = Callable[..., list[Docs]]


class Resident(NamedTuple):
    """One operator, and the namespace that it serves."""

    cluster: Cluster
    operator: Operator


@pytest.fixture(scope="session")
def encoders() -> Iterator[EmbeddingServer]:
    """Two cheap encoders of different dimensions."""
    with EmbeddingServer.start(models=(str(SMALL["model"]), str(LARGE["model"])), faults=True) as server:
        yield server


@pytest.fixture
def cluster(control_plane: ControlPlane, namespace: str) -> Iterator[Cluster]:
    """The test's own namespace."""
    with control_plane.api_client() as client:
        yield Cluster(control_plane.kubeconfig, client, namespace)


@pytest.fixture(scope="session")
def resident(control_plane: ControlPlane) -> Iterator[Resident]:
    """An operator and a namespace for all tests that do not harm it.

    It looks again every few seconds at what it cannot go on with, as it does every two minutes in production. It
    has no Lease, so that it outlives tests which pause the API server.
    """
    with control_plane.api_client() as client:
        cluster = Cluster(control_plane.kubeconfig, client, f"test-{secrets.token_hex(4)}")
        cluster.create_namespace()
        with running_operator(
            control_plane.kubeconfig, "-n", cluster.namespace, "--resync", "3", "--no-lease"
        ) as operator:
            yield Resident(cluster, operator)
        if not control_plane.local:
            cluster.delete_namespace()


@pytest.fixture
def tenant(resident: Resident, qdrant: Qdrant, encoders: EmbeddingServer, prefix: str) -> Iterator[Docs]:
    """Documents of the test's own in the resident's namespace, still to be declared; gone after it."""
    docs = Docs(qdrant, encoders, f"{prefix}docs", resident.cluster, name=f"{prefix}docs")
    docs.operators.append(resident.operator)
    yield docs
    encoders.faults()
    docs.withdraw()


@pytest.fixture
def gate(tenant: Docs) -> Iterator[Gate]:
    """A gate between the operator and Qdrant; `tenant` goes through it."""
    with Gate(tenant.qdrant, tenant.alias) as gate:
        tenant.through(gate.url, gate.grpc_port)
        yield gate


@pytest.fixture
def crowd(resident: Resident, qdrant: Qdrant, encoders: EmbeddingServer, prefix: str) -> Iterator[Gather]:
    """Makes further tenants, by their names: what each has to wait for, all can wait for together."""
    made: list[Docs] = []

    def gather(*names: str) -> list[Docs]:
        own = [prefix + name.lower() for name in names]
        found = [Docs(qdrant, encoders, name, resident.cluster, name=name) for name in own]
        for docs in found:
            docs.operators.append(resident.operator)
        made.extend(found)
        return found

    yield gather
    for docs in made:
        docs.withdraw()


@pytest.fixture
def blue(tenant: Docs) -> Docs:
    """A tenant that is served, with a few points."""
    tenant.declare()
    tenant.wait_ready()
    tenant.load(few())
    return tenant


@pytest.fixture
def docs(cluster: Cluster, qdrant: Qdrant, encoders: EmbeddingServer, prefix: str) -> Docs:
    """A collection of documents that is still to be declared, on an alias of its own."""
    return Docs(qdrant, encoders, f"{prefix}docs", cluster)


@pytest.fixture
def operator(docs: Docs) -> Iterator[StartOperator]:
    """Starts operators for the namespace, with further arguments of `teal run`; ends those that still run."""

    def start(*arguments: str) -> Operator:
        running = Operator.start(docs.cluster.kubeconfig, "-n", docs.cluster.namespace, *arguments)
        docs.operators.append(running)
        return running

    yield start
    for running in docs.operators:
        running.stop()


@pytest.fixture
def serving(docs: Docs, operator: StartOperator) -> Docs:
    """`docs`, declared and served by an operator; still empty."""
    docs.declare()
    operator()
    docs.wait_ready()
    return docs
