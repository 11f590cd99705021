"""The embedding server in a process of its own, as a context manager."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from devkit import paths
from devkit.embeddings.models import HASHING, MINILM
from devkit.processes import Process


@dataclass(frozen=True)
class Calls:
    """What was answered: `texts` with `tokens` in `requests`; `distinct` of them differ; `refused` requests."""

    requests: int = 0
    refused: int = 0
    texts: int = 0
    tokens: int = 0
    distinct: int = 0

    def __add__(self, other: Calls) -> Calls:
        return Calls(**{name: value + getattr(other, name) for name, value in vars(self).items()})


class EmbeddingServer:
    """A running server. `url` is its base with version, as an EmbeddingSet wants it."""

    def __init__(self, process: Process, folder: Path, port: int) -> None:
        self._process = process
        self._folder = folder
        self._root = f"http://127.0.0.1:{port}"
        self.url = f"{self._root}/v1"

    @classmethod
    def start(
        cls,
        *,
        models: Sequence[str] = (MINILM, HASHING),
        port: int | None = None,
        api_key: str | None = None,
        faults: bool = False,
    ) -> Self:
        """Start the server and wait until it answers; `models` are loaded first, others when asked for.

        Raises:
            ProcessFailedError: it ended, or was not ready in two minutes; with the tail of its log.
        """
        port = port or paths.free_port()
        folder = paths.new_run("embeddings")
        command = [sys.executable, "-m", "devkit.embeddings", "--port", str(port)]
        command += [argument for model in models for argument in ("--model", model)]
        command += ["--api-key", api_key] if api_key else []
        command += ["--faults"] if faults else []
        root = Path(__file__).parents[2]
        server = cls(Process("embeddings", command, folder / "log", cwd=root), folder, port)
        try:
            server._process.wait_ready(server._answers, seconds=120)
        except BaseException:
            server.stop()
            raise
        return server

    @property
    def pid(self) -> int:
        return self._process.pid

    def calls(self, agent: str | None = None) -> Calls:
        """What was answered to callers with this User-Agent (`teal` is the operator's), or to all."""
        by_agent: dict[str, Any] = httpx.get(f"{self._root}/_calls").raise_for_status().json()
        counted = [Calls(**counts) for name, counts in by_agent.items() if agent in (None, name)]
        return sum(counted, Calls())

    def faults(self, *faults: dict[str, Any]) -> None:
        """Set the faults that are to happen (see `faults.Fault`) in place of earlier ones; none: heal."""
        httpx.post(f"{self._root}/_faults", json=list(faults)).raise_for_status()

    def stop(self) -> None:
        """End the process and remove its folder."""
        self._process.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self._root}/health", timeout=2).is_success
        except httpx.TransportError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
