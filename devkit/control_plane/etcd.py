"""One etcd on loopback, without fsync: it must be quick, and its data never outlives its run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import httpx

from devkit import paths
from devkit.control_plane import binaries
from devkit.control_plane.report import Report
from devkit.processes import Process


class Etcd:
    """A running etcd with its data and log in `folder`."""

    def __init__(self, folder: Path, report: Report) -> None:
        self.url = f"http://127.0.0.1:{paths.free_port()}"
        peer = f"http://127.0.0.1:{paths.free_port()}"
        self.process = Process(
            "etcd",
            [
                str(binaries.executable(binaries.ETCD, report)),
                f"--data-dir={folder / 'etcd'}",
                f"--listen-client-urls={self.url}",
                f"--advertise-client-urls={self.url}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                "--name=devkit",
                f"--initial-cluster=devkit={peer}",
                "--unsafe-no-fsync",
                "--log-level=warn",
            ],
            folder / "etcd.log",
        )

    def wait_ready(self) -> Self:
        """Return when it answers as healthy."""
        self.process.wait_ready(self._healthy)
        return self

    def compact(self) -> int:
        """Forget all history before now and return the revision up to which it is gone."""
        revision = int(self._call("maintenance/status")["header"]["revision"])
        self._call("kv/compaction", revision=str(revision), physical=True)
        return revision

    def _healthy(self) -> bool:
        try:
            answer = httpx.get(f"{self.url}/health", trust_env=False)
        except httpx.TransportError:
            return False
        return answer.status_code == httpx.codes.OK

    def _call(self, method: str, **request: Any) -> dict[str, Any]:
        answer = httpx.post(f"{self.url}/v3/{method}", json=request, trust_env=False).raise_for_status()
        reply: dict[str, Any] = answer.json()
        return reply
