"""`teal run` as a process of its own, with the real engine."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from kubernetes.client import CoreV1Api, CustomObjectsApi, EventsV1Api, V1ObjectMeta, V1Secret

from devkit import paths
from devkit.control_plane import ControlPlane
from devkit.processes import Process
from teal.api.common import GROUP, VERSION
from tests.controller import fakes

PLURAL = "vectorcollections"


def teal(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "teal.cli.main", "run", *arguments]


def eventually(condition: Callable[[], Any]) -> Any:
    """What `condition` returns once it is true; the test's time limit is the only one."""
    while not (found := condition()):
        time.sleep(0.1)
    return found


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{paths.free_port()}"


@pytest.fixture
def process(kubeconfig: Path, namespace: str, address: str, tmp_path: Path) -> Iterator[Process]:
    command = teal("-n", namespace, "--kubeconfig", str(kubeconfig), "--http-address", address)
    with Process("teal", command, tmp_path / "log") as process:
        process.wait_ready(lambda: is_ready(address), seconds=60)
        yield process


def is_ready(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_what_is_wrong_is_shown_and_sigterm_ends_it(
    control_plane: ControlPlane, process: Process, namespace: str, address: str
) -> None:
    """A collection on a Qdrant that is not there, with a key that nobody else must see."""
    key = {"name": "qdrant", "key": "api-key"}
    qdrant = {"url": f"http://127.0.0.1:{paths.free_port()}", "apiKeySecretRef": key}
    manifest = fakes.vector_collection(qdrant=qdrant, deletionPolicy="Delete")
    manifest["metadata"]["namespace"] = namespace
    with control_plane.api_client() as client:
        secret = V1Secret(metadata=V1ObjectMeta(name="qdrant"), string_data={"api-key": "s3cret"})
        CoreV1Api(client).create_namespaced_secret(namespace, secret)
        objects = CustomObjectsApi(client)
        objects.create_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, manifest)

        def shown() -> Any:
            obj: Any = objects.get_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, "docs")
            found = [each for each in obj.get("status", {}).get("conditions", []) if each["type"] == "Ready"]
            return found[0] if found else None

        ready = eventually(shown)
        events = eventually(lambda: EventsV1Api(client).list_namespaced_event(namespace).items)
    assert ready["status"] != "True"
    assert ready["observedGeneration"] == 1
    assert [event.reason for event in events] == [ready["reason"]]
    assert httpx.get(f"http://{address}/livez").status_code == 200
    metrics = httpx.get(f"http://{address}/metrics").text
    assert 'teal_vector_collection_condition{condition="Ready",name="docs"' in metrics
    process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait() == 0
    assert "s3cret" not in process.log.read_text()


def test_without_a_cluster_it_ends_and_says_so(tmp_path: Path) -> None:
    command = teal("-A", "--kubeconfig", str(tmp_path / "none"))
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert ended.returncode == 1
    assert "no connection to the API server" in ended.stderr
    assert "Traceback" not in ended.stderr
