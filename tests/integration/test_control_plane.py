"""The local control plane is a real one, can be tampered with, and leaves nothing behind."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from kubernetes.client import (
    ApiException,
    CoreV1Api,
    CustomObjectsApi,
    V1ConfigMap,
    V1Namespace,
    V1ObjectMeta,
    V1ServiceAccount,
    VersionApi,
)
from kubernetes.watch import Watch

from devkit import paths
from devkit.control_plane import ControlPlane, NotLocalError, build, definitions, kubeconfig
from devkit.control_plane.api_server import ApiServer
from devkit.control_plane.etcd import Etcd

ROOT = Path(__file__).parents[2]

needs_local = pytest.mark.skipif("KUBECONFIG" in os.environ, reason="starts a control plane of its own")

DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "gauges.devkit.teal.dev"},
    "spec": {
        "group": "devkit.teal.dev",
        "scope": "Namespaced",
        "names": {"plural": "gauges", "singular": "gauge", "kind": "Gauge", "listKind": "GaugeList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "properties": {"level": {"type": "integer", "maximum": 9}}}
                        },
                    }
                },
            }
        ],
    },
}


@pytest.fixture
def core(control_plane: ControlPlane) -> Iterator[CoreV1Api]:
    with control_plane.api_client() as client:
        yield CoreV1Api(client)


def put_config_map(core: CoreV1Api, namespace: str, name: str) -> str:
    """Create it and return its resourceVersion."""
    body = V1ConfigMap(metadata=V1ObjectMeta(name=name), data={"key": "value"})
    return str(core.create_namespaced_config_map(namespace, body).metadata.resource_version)


def processes_of(folder: Path) -> list[str]:
    """The command lines, of processes that have not ended, that name `folder`."""
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("looks for processes in /proc")
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            lines.append(entry.read_text())
    return [line for line in lines if str(folder) in line]


def test_it_is_the_pinned_version(local_control_plane: ControlPlane) -> None:
    if "KUBEBUILDER_ASSETS" in os.environ:
        pytest.skip("KUBEBUILDER_ASSETS decides on the version")
    with local_control_plane.api_client() as client:
        assert VersionApi(client).get_code().git_version == build.version()


def test_definitions_are_served_and_enforced_once_applied(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "gauges.yaml").write_text(yaml.safe_dump(DEFINITION))
    definitions.apply(control_plane.kubeconfig, tmp_path)
    definitions.apply(control_plane.kubeconfig, tmp_path)
    gauge = {"apiVersion": "devkit.teal.dev/v1", "kind": "Gauge", "metadata": {"name": "a"}}
    with control_plane.api_client() as client:
        api = CustomObjectsApi(client)
        where = ("devkit.teal.dev", "v1", namespace, "gauges")
        assert api.create_namespaced_custom_object(*where, {**gauge, "spec": {"level": 9}})["spec"] == {"level": 9}
        with pytest.raises(ApiException, match="should be less than or equal to 9"):
            api.create_namespaced_custom_object(*where, {**gauge, "spec": {"level": 10}})


def test_anything_but_definitions_is_refused_before_anything_is_applied(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: ConfigMap\n")
    with pytest.raises(ValueError, match=r"a\.yaml holds something else"):
        definitions.read(tmp_path)


def test_a_restart_keeps_url_and_data(local_control_plane: ControlPlane, core: CoreV1Api, namespace: str) -> None:
    put_config_map(core, namespace, "kept")
    url = local_control_plane.url
    local_control_plane.restart_api_server()
    assert local_control_plane.url == url
    assert core.read_namespaced_config_map("kept", namespace).data == {"key": "value"}


def test_a_watch_from_before_expired_is_answered_410(
    local_control_plane: ControlPlane, core: CoreV1Api, namespace: str
) -> None:
    before = put_config_map(core, namespace, "first")
    put_config_map(core, namespace, "second")
    resumed = {"namespace": namespace, "resource_version": before, "timeout_seconds": 5}
    events = Watch().stream(core.list_namespaced_config_map, **resumed)
    assert next(events)["object"].metadata.name == "second"
    events.close()
    local_control_plane.expire_watches()
    with pytest.raises(ApiException) as refusal:
        next(Watch().stream(core.list_namespaced_config_map, **resumed))
    assert refusal.value.status == 410


def test_a_paused_api_server_accepts_and_does_not_answer(local_control_plane: ControlPlane) -> None:
    url = f"{local_control_plane.url}/livez"
    with httpx.Client(verify=False, trust_env=False) as client:  # noqa: S501
        local_control_plane.pause_api_server()
        try:
            with pytest.raises(httpx.TimeoutException):
                client.get(url, timeout=0.3)
        finally:
            local_control_plane.resume_api_server()
        assert client.get(url, timeout=60).status_code == httpx.codes.OK


def test_a_service_account_has_only_its_own_rights(
    control_plane: ControlPlane, core: CoreV1Api, namespace: str, tmp_path: Path
) -> None:
    core.create_namespaced_service_account(namespace, V1ServiceAccount(metadata=V1ObjectMeta(name="bare")))
    path = control_plane.kubeconfig_for("bare", namespace, tmp_path / "kubeconfig")
    with kubeconfig.client(path) as client, pytest.raises(ApiException) as refusal:
        CoreV1Api(client).list_namespaced_config_map(namespace)
    assert refusal.value.status == 403
    assert f"system:serviceaccount:{namespace}:bare" in refusal.value.body


@needs_local
def test_two_run_side_by_side_and_leave_nothing(control_plane: ControlPlane, core: CoreV1Api) -> None:
    with ControlPlane.start() as other:
        assert other.url != control_plane.url
        with other.api_client() as client:
            CoreV1Api(client).create_namespace(V1Namespace(metadata=V1ObjectMeta(name="only-here")))
        assert "only-here" not in {space.metadata.name for space in core.list_namespace().items}
        folder = other.folder
        assert len(processes_of(folder)) == 2
    assert not folder.exists()
    assert processes_of(folder) == []


@needs_local
@pytest.mark.parametrize("step", [(Etcd, "wait_ready"), (ApiServer, "start"), (kubeconfig, "write")])
def test_an_interrupted_start_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: tuple[object, str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        assert processes_of(folder)
        raise KeyboardInterrupt

    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setattr(paths, "new_run", lambda _: folder)
    monkeypatch.setattr(*step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        ControlPlane.start()
    assert not folder.exists()
    assert processes_of(folder) == []


@contextmanager
def command() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """`python -m devkit.control_plane`, running, and its run's folder."""
    arguments = [sys.executable, "-m", "devkit.control_plane"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            export = next(line for line in process.stdout if line.startswith("export KUBECONFIG="))
            path = Path(shlex.split(export)[1].partition("=")[2])
            assert kubeconfig.server_url(path).startswith("https://127.0.0.1:")
            assert len(processes_of(path.parent)) == 2
            yield process, path.parent
        finally:
            process.kill()


@needs_local
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_runs_until_it_is_told_to_end_and_cleans_up(number: signal.Signals) -> None:
    with command() as (process, folder):
        process.send_signal(number)
        assert process.wait(timeout=60) == 0
        assert not folder.exists()
        assert processes_of(folder) == []


@needs_local
def test_servers_of_a_killed_owner_end_and_the_next_run_removes_its_folder() -> None:
    with command() as (process, folder):
        process.kill()
        process.wait()
        while processes_of(folder):  # the kernel ends them; the test's time limit is the deadline
            time.sleep(0.05)
        assert folder.exists()
        shutil.rmtree(paths.new_run("sweep"))
        assert not folder.exists()


def test_a_cluster_that_kubeconfig_names_is_used_and_not_tampered_with(
    monkeypatch: pytest.MonkeyPatch, control_plane: ControlPlane
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    with ControlPlane.start() as named:
        assert (named.url, named.local) == (control_plane.url, False)
        with pytest.raises(NotLocalError):
            named.pause_api_server()
    with control_plane.api_client() as client:
        assert VersionApi(client).get_code().major == "1"


def test_a_kubeconfig_of_several_files_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", f"a{os.pathsep}b")
    with pytest.raises(ValueError, match="names several files"):
        ControlPlane.start()
