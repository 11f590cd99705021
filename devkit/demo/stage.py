"""All parts of the demo, started in order and stopped in reverse order, also after an interrupt."""

from __future__ import annotations

import os
import uuid
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from kubernetes.client import ApiException

from devkit.cluster import Cluster
from devkit.control_plane import ControlPlane
from devkit.control_plane.report import Report
from devkit.demo.story import ALIAS, Manifest
from devkit.embeddings import EmbeddingServer
from devkit.qdrant import EmbeddedQdrant
from devkit.teal import Operator

ROOT = Path(__file__).resolve().parents[2]
SECRET, SECRET_KEY = "qdrant", "api-key"


class Stage:
    """A control plane, a Qdrant, the encoders, a namespace; the story starts the operators."""

    def __init__(self, report: Report, *, faults: bool = False) -> None:
        """`faults`: the story kills Qdrant or slows it down."""
        self._report = report
        self._faults = faults
        self._stack = ExitStack()
        self.cluster: Cluster
        self.embedder: EmbeddingServer
        self.embedded: EmbeddedQdrant
        self.operators: list[Operator] = []
        self.url = ""
        self.api_key: str | None = None
        self.spec: Manifest = {}

    def __enter__(self) -> Self:
        try:
            self._start_cluster()
            self._start_qdrant()
            self._report("Starting the encoders")
            self.embedder = self._stack.enter_context(EmbeddingServer.start())
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start_cluster(self) -> None:
        self._report("Starting the control plane")
        plane = self._stack.enter_context(ControlPlane.start(ROOT / "crds", report=self._report))
        api_client = self._stack.enter_context(plane.api_client())
        self.cluster = Cluster(plane.kubeconfig, api_client, f"teal-demo-{uuid.uuid4().hex[:6]}")
        self.cluster.create_namespace()
        self._stack.callback(self._leave_cluster)

    def _leave_cluster(self) -> None:
        with suppress(ApiException):
            self.cluster.delete_all()
            self.cluster.delete_namespace()

    def _start_qdrant(self) -> None:
        given = os.environ.get("QDRANT_URL")
        if given and self._faults:
            raise RuntimeError(
                "this story kills or sabotages Qdrant: it runs on the embedded one. Unset QDRANT_URL"
            )
        if given:
            self.url, self.api_key = given.rstrip("/"), os.environ.get("QDRANT_API_KEY")
            port = int(os.environ.get("QDRANT_GRPC_PORT", "6334"))
            self._report(f"Using the Qdrant at {self.url}")
            self._refuse_leftovers()
        else:
            self._report("Starting the embedded Qdrant")
            self.embedded = EmbeddedQdrant.start(faults=self._faults)
            self._stack.callback(self.embedded.stop)
            self.url, port = self.embedded.url, self.embedded.grpc_port
        self._stack.callback(self._leave_qdrant)
        self.spec = {"url": self.url, "grpcPort": port}
        if self.api_key:
            self.cluster.create_secret(SECRET, {SECRET_KEY: self.api_key})
            self.spec["apiKeySecretRef"] = {"name": SECRET, "key": SECRET_KEY}

    def _refuse_leftovers(self) -> None:
        """Refuse to run if there are collections that this run did not create."""
        found = [name for name in self._names() if name.startswith(f"{ALIAS}-")]
        if found:
            raise RuntimeError(
                f"{self.url} has collections of an earlier demo ({', '.join(found)}); delete them first"
            )

    def _leave_qdrant(self) -> None:
        with suppress(httpx.HTTPError), self.qdrant() as http:
            for name in self._names():
                if name.startswith(f"{ALIAS}-"):
                    http.delete(f"/collections/{name}", timeout=60)

    def _names(self) -> list[str]:
        with self.qdrant() as http:
            answer = http.get("/collections").raise_for_status().json()
        return [each["name"] for each in answer["result"]["collections"]]

    def qdrant(self) -> httpx.Client:
        """A REST client as an application has one."""
        headers = {"api-key": self.api_key} if self.api_key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def tamper(self, **fault: Any) -> None:
        """Ask the embedded Qdrant for a fault."""
        self.embedded.faults(**fault)

    def start_operator(self) -> Operator:
        """`teal run`, as a user starts it; returns when it works, or is a standby."""
        self._report("Starting the operator: teal run")
        running = Operator.start(self.cluster.kubeconfig, "--namespace", self.cluster.namespace)
        self._stack.callback(running.stop)
        self.operators.append(running)
        return running
