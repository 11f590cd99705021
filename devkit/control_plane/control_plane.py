"""A Kubernetes control plane for tests: the cluster that KUBECONFIG names, else one started here.

Invariant: `stop` ends everything that `start` started, wherever `start` was interrupted: no process and no run
folder stays. So every server is on the exit stack before it is waited for, and all files are in the folder of
the run.
"""

from __future__ import annotations

import shutil
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from kubernetes.client import ApiClient

from devkit import paths
from devkit.control_plane import binaries, definitions, kubeconfig
from devkit.control_plane.api_server import ApiServer
from devkit.control_plane.controllers import start_controllers
from devkit.control_plane.etcd import Etcd
from devkit.control_plane.report import Report
from devkit.processes import Process


class NotLocalError(RuntimeError):
    """The cluster that KUBECONFIG names cannot be stopped or paused: only servers that were started here can."""


@dataclass(frozen=True)
class _Servers:
    etcd: Etcd
    api_server: ApiServer
    controllers: Process | None

    def check(self) -> None:
        self.etcd.process.check()
        self.api_server.check()
        if self.controllers is not None:
            self.controllers.check()


class ControlPlane:
    """A running control plane and what a test may do to it. `start` makes one; use it as a context manager."""

    def __init__(self, kubeconfig: Path, url: str) -> None:
        self.kubeconfig = kubeconfig
        """A kubeconfig with all permissions (`system:masters`, if started here)."""
        self.url = url
        """The URL of the API server; it stays the same over restarts."""
        self._resources = ExitStack()
        self._servers: _Servers | None = None

    @staticmethod
    def prepare(report: Report | None = None) -> None:
        """Build now what `start` would have to build first, so that it takes seconds."""
        if kubeconfig.given() is None:
            binaries.prepare(report or Report())

    @classmethod
    def start(
        cls,
        crds: Path | None = None,
        *,
        controllers: bool = False,
        port: int | None = None,
        keep: bool = False,
        report: Report | None = None,
    ) -> Self:
        """Start a control plane and return when it is ready and serves the definitions in the folder `crds`.

        If KUBECONFIG is set, nothing is started: that cluster is used, and the other options mean nothing. Else
        `controllers` adds kube-controller-manager (Jobs, garbage collection, deletion of namespaces), `port` fixes
        the API server's port, and `keep` leaves the run's folder (logs, etcd's data) after the stop.
        The first start may build for minutes, and says so on `report`.
        """
        given = kubeconfig.given()
        plane = (
            cls(given, kubeconfig.server_url(given))
            if given
            else cls._start_here(controllers=controllers, port=port, keep=keep, report=report or Report())
        )
        try:
            if crds is not None:
                definitions.apply(plane.kubeconfig, crds)
        except BaseException:
            plane.stop()
            raise
        return plane

    @classmethod
    def _start_here(cls, *, controllers: bool, port: int | None, keep: bool, report: Report) -> Self:
        binaries.prepare(report, controllers=controllers)
        with ExitStack() as stack:
            folder = paths.new_run("control-plane")
            if keep:
                (folder / paths.OWNER).unlink()
            else:
                stack.callback(shutil.rmtree, folder)
            etcd = Etcd(folder, report)
            stack.callback(etcd.process.stop)
            api_server = ApiServer(folder, etcd.wait_ready().url, port, report)
            stack.callback(api_server.stop)
            api_server.start()
            manager = start_controllers(folder, api_server, report) if controllers else None
            if manager is not None:
                stack.callback(manager.stop)
            plane = cls(api_server.kubeconfig, api_server.url)
            plane._servers = _Servers(etcd, api_server, manager)
            plane._resources = stack.pop_all()
            return plane

    def api_client(self) -> ApiClient:
        """A client with all permissions; the caller closes it (it is a context manager)."""
        return kubeconfig.client(self.kubeconfig)

    def kubeconfig_for(self, service_account: str, namespace: str, path: Path) -> Path:
        """Write to `path` a kubeconfig of an existing service account, valid for an hour.

        So a process can run here with exactly the permissions that its pod would have.
        """
        return kubeconfig.write_for_account(self.kubeconfig, service_account, namespace, path)

    @property
    def local(self) -> bool:
        """Whether it was started here, so that its servers can be paused and restarted."""
        return self._servers is not None

    @property
    def folder(self) -> Path:
        """The run's folder, with a log for each server. Raises `NotLocalError`, as all below does."""
        self._local()
        return self.kubeconfig.parent

    def wait(self) -> NoReturn:
        """Never return: raise `ProcessFailedError` when one of the servers ends by itself."""
        while True:
            self._local().check()
            time.sleep(0.5)

    def stop(self) -> None:
        """Stop everything that was started, and remove its folder. Can be repeated."""
        self._resources.close()

    def restart_api_server(self) -> None:
        """Stop the API server and start it again: every watch ends, nothing that was stored is lost."""
        self.stop_api_server()
        self.start_api_server()

    def stop_api_server(self) -> None:
        """Stop the API server: connections are refused until `start_api_server`."""
        self._local().api_server.stop()

    def start_api_server(self) -> None:
        """Start a stopped API server at the same URL; returns when it is ready."""
        self._local().api_server.start()

    def pause_api_server(self) -> None:
        """Freeze the API server: requests are accepted by the kernel and not answered until it is resumed."""
        self._local().api_server.signal(signal.SIGSTOP)

    def resume_api_server(self) -> None:
        """Undo `pause_api_server`."""
        self._local().api_server.signal(signal.SIGCONT)

    def compact_etcd(self) -> int:
        """Make etcd forget all history, and return the revision up to which it did.

        A running API server still answers watches from its own cache; see `expire_watches`.
        """
        return self._local().etcd.compact()

    def expire_watches(self) -> None:
        """Restart the API server over a compacted etcd: a client that resumes an older watch gets 410."""
        self.stop_api_server()
        self.compact_etcd()
        self.start_api_server()

    def _local(self) -> _Servers:
        if self._servers is None:
            raise NotLocalError(f"{self.url} was not started here")
        return self._servers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
