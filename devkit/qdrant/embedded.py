"""The embedded Qdrant as an object: a server process that can be started, stopped, killed and restarted."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from devkit.paths import free_port, new_run
from devkit.processes import Process

_ROOT = Path(__file__).resolve().parents[2]
_READY = 60.0  # seconds; the first start reads the engine from disk


class EmbeddedQdrant:
    """One running server. Its data outlives `stop`, `kill` and `restart`, unless the folder was made here.

    `url` is the REST interface, `grpc_port` the port of the gRPC interface, both on loopback.
    """

    def __init__(self, data: Path | None, options: dict[str, Any]) -> None:
        self._own_data = data is None
        self.data = (data or new_run("qdrant")).resolve()
        self.data.mkdir(parents=True, exist_ok=True)
        self.rest_port = int(options.pop("rest_port", 0)) or free_port()
        self.grpc_port = int(options.pop("grpc_port", 0)) or free_port()
        self._options = options
        self._process: Process | None = None
        scheme = "https" if options.get("tls_cert") else "http"
        self.url = f"{scheme}://127.0.0.1:{self.rest_port}"

    @classmethod
    def start(cls, data: Path | None = None, **options: Any) -> EmbeddedQdrant:
        """Start a server on `data` (default: a folder that `stop` removes) and wait until it answers.

        The options are those of `python -m devkit.qdrant`, with underscores: `api_key`, `faults=True`,
        `report_version`, `rest_port`, ... Raises `ProcessFailedError` with the end of the log.
        """
        server = cls(data, options)
        try:
            server._launch()
        except BaseException:
            server._remove()
            raise
        return server

    def _launch(self) -> None:
        command = [sys.executable, "-m", "devkit.qdrant", *self._arguments()]
        self._process = Process("qdrant", command, self.data / "server.log", cwd=_ROOT)
        try:
            self._process.wait_ready(self._ready, _READY)
        except BaseException:
            self._process.stop()
            raise

    def _arguments(self) -> list[str]:
        given = {**self._options, "data": self.data, "rest_port": self.rest_port, "grpc_port": self.grpc_port}
        arguments: list[str] = []
        for name, value in given.items():
            flag = f"--{name.replace('_', '-')}"
            if value is True:
                arguments.append(flag)
            elif value not in (None, False):
                # The server runs elsewhere, so a path is made absolute here.
                arguments += [flag, str(value.resolve() if isinstance(value, Path) else value)]
        return arguments

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", verify=False).is_success  # noqa: S501 -- its own certificate
        except httpx.TransportError:
            return False

    @property
    def process(self) -> Process:
        if self._process is None:
            raise RuntimeError("the server has not been started")
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> None:
        """End the server in order; a data folder that was made here is removed."""
        self.process.stop()
        self._remove()

    def _remove(self) -> None:
        if self._own_data:
            shutil.rmtree(self.data, ignore_errors=True)

    def kill(self) -> None:
        """End the server as a crash would; `restart` brings it back with all acknowledged writes."""
        self.process.kill()

    def restart(self) -> None:
        """Stop if running, and start again on the same data and ports."""
        self.process.stop()
        self._launch()

    def faults(self, **fault: Any) -> None:
        """Ask for a fault (see `front.faults`); without arguments, end all faults. Needs `faults=True`."""
        headers = {"api-key": self._options["api_key"]} if self._options.get("api_key") else {}
        with httpx.Client(base_url=self.url, headers=headers, verify=False) as client:  # noqa: S501
            answer = client.post("/_faults", json=fault) if fault else client.delete("/_faults")
        answer.raise_for_status()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
