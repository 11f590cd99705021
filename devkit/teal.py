"""Teal's operator as a user starts it: `teal run`, in a process of its own."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from devkit import paths
from devkit.processes import Process

READY_SECONDS = 60.0
GRACE_SECONDS = 30.0


class Operator:
    """One running operator. `url` is that of its HTTP endpoints."""

    def __init__(self, process: Process, folder: Path, url: str) -> None:
        self.process = process
        self.url = url
        self._folder = folder

    @classmethod
    def start(cls, kubeconfig: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Operator:
        """Start `teal run ARGUMENTS` and wait until it has seen all resources.

        Raises:
            ProcessFailedError: it ended, or was not ready in a minute; with the tail of its log.
        """
        folder, port = paths.new_run("operator"), paths.free_port()
        url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "teal.cli.main", "run", "--http-address", f"127.0.0.1:{port}", *arguments]
        environment = {"KUBECONFIG": str(kubeconfig), **(env or {})}
        operator = cls(Process("operator", command, folder / "log", env=environment), folder, url)
        try:
            operator.process.wait_ready(operator._ready, READY_SECONDS)
        except BaseException:
            operator.stop()
            raise
        return operator

    def stop(self) -> None:
        """SIGTERM, as Kubernetes ends a pod."""
        self.process.stop(GRACE_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """SIGKILL, as a crash would be."""
        self.process.kill()

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz").is_success
        except httpx.TransportError:
            return False


@contextmanager
def operator(kubeconfig: Path, *arguments: str) -> Iterator[Operator]:
    """An operator for as long as the block runs."""
    running = Operator.start(kubeconfig, *arguments)
    try:
        yield running
    finally:
        running.stop()
