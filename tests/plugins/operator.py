"""Fixtures of the end-to-end tests: the operator, a namespace of a real API server, an engine, real encoders.

Servers live for the session; namespace, alias and operators are each test's own.
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
from tests.e2e.support import FEW, LARGE, SMALL, Docs
from tests.plugins.qdrant import Qdrant

StartOperator = Callable[..., Operator]


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


@pytest.fixture(scope="module")
def resident(control_plane: ControlPlane) -> Iterator[Resident]:
    """An operator and a namespace for all tests of a file: starting one takes longer than most of them.

    It looks again every few seconds at what it cannot go on with, as it does every two minutes in production.
    """
    with control_plane.api_client() as client:
        cluster = Cluster(control_plane.kubeconfig, client, f"test-{secrets.token_hex(4)}")
        cluster.create_namespace()
        with running_operator(control_plane.kubeconfig, "-n", cluster.namespace, "--resync", "3") as operator:
            yield Resident(cluster, operator)
        if not control_plane.local:
            cluster.delete_namespace()


@pytest.fixture
def tenant(resident: Resident, qdrant: Qdrant, encoders: EmbeddingServer, prefix: str) -> Iterator[Docs]:
    """Documents in the file's namespace under a name of their own, still to be declared; gone after the test."""
    docs = Docs(qdrant, encoders, f"{prefix}docs", resident.cluster, name=f"{prefix}docs")
    docs.operators.append(resident.operator)
    yield docs
    encoders.faults()
    docs.withdraw()


@pytest.fixture
def blue(tenant: Docs) -> Docs:
    """A tenant that is served, with a few points."""
    tenant.declare()
    tenant.wait_ready()
    tenant.load(FEW)
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
