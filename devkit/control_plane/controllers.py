"""kube-controller-manager, for tests of Jobs, garbage collection and the deletion of namespaces."""

from __future__ import annotations

from pathlib import Path

from devkit.control_plane import binaries
from devkit.control_plane.api_server import ApiServer
from devkit.control_plane.report import Report
from devkit.processes import Process


def start_controllers(folder: Path, api_server: ApiServer, report: Report) -> Process:
    """Start it against `api_server`, with its log in `folder`; its controllers begin a moment later."""
    return Process(
        "kube-controller-manager",
        [
            str(binaries.executable(binaries.CONTROLLERS, report)),
            f"--kubeconfig={api_server.kubeconfig}",
            f"--service-account-private-key-file={api_server.account_key}",
            f"--root-ca-file={api_server.certificate}",
            # There are no nodes, so there is no network to give them.
            "--controllers=*,-node-ipam-controller",
            "--leader-elect=false",
            "--secure-port=0",
        ],
        folder / "kube-controller-manager.log",
    )
