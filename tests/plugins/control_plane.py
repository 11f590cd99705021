"""Fixtures for tests against a real API server: that of KUBECONFIG, else one started for the session."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes.client import CoreV1Api, V1Namespace, V1ObjectMeta

from devkit.control_plane import ControlPlane

CRDS = Path(__file__).parents[2] / "crds"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the server before the first test: minutes that no test's time limit should have to hold."""
    wanted = any("control_plane" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not session.config.option.collectonly:
        with session.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            ControlPlane.prepare()


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A control plane that serves the definitions in crds/, shared by all tests of the session.

    Whoever tampers with its servers leaves them running. A test that needs `control_plane.local` skips without.
    """
    with ControlPlane.start(CRDS if any(CRDS.glob("*.yaml")) else None) as plane:
        yield plane


@pytest.fixture
def local_control_plane(control_plane: ControlPlane) -> ControlPlane:
    """The control plane, for a test that pauses or restarts its servers; skipped on a cluster of somebody else."""
    if not control_plane.local:
        pytest.skip("the servers of the cluster that KUBECONFIG names are not to be tampered with")
    return control_plane


@pytest.fixture
def kubeconfig(control_plane: ControlPlane) -> Path:
    """The path of a kubeconfig with all rights."""
    return control_plane.kubeconfig


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """The name of a fresh namespace.

    It is deleted on a cluster of somebody else. The local one has no controller that would finish a deletion, and
    goes away as a whole.
    """
    name = f"test-{secrets.token_hex(4)}"
    with control_plane.api_client() as client:
        api = CoreV1Api(client)
        api.create_namespace(V1Namespace(metadata=V1ObjectMeta(name=name)))
        yield name
        if not control_plane.local:
            api.delete_namespace(name)
