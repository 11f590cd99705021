"""What many resources cost while nothing changes, and how fast the operator notices one edit among them.

python -m benchmarks.controller_scale [--resources 100 1000 5000] [--idle 60]

A real control plane and a real operator. Qdrant is a counting stand-in without an engine
(benchmarks.stub_qdrant), because the benchmark measures the controller, not the engine. The operator first
creates everything; then it is started again, and its start-up, its idle load and one edit are measured.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from devkit import paths
from devkit.cluster import Cluster
from devkit.control_plane import ControlPlane
from devkit.processes import Process
from devkit.teal import Operator

CRDS = Path(__file__).resolve().parents[1] / "crds"
EDITS = 5
SETTLE_SECONDS = 15.0
READY_SECONDS = 3600.0
CREATING = ("--concurrency", "64", "--per-qdrant", "64")
"""For the operator that creates everything, whose time is only reported; the measured one has the defaults."""
TICKS = os.sysconf("SC_CLK_TCK")


def manifest(number: int, namespace: str, url: str, m: int = 16) -> dict[str, Any]:
    return {
        "apiVersion": "teal.dev/v1alpha1",
        "kind": "VectorCollection",
        "metadata": {"name": f"vc-{number:05d}", "namespace": namespace},
        "spec": {"qdrant": {"url": url}, "dimensions": 384, "hnsw": {"m": m}},
    }


class Measured:
    """One operator process and the counters around it."""

    def __init__(self, operator: Operator, stub: str) -> None:
        self._operator, self._stub = operator, stub

    def cpu(self) -> float:
        """CPU seconds so far, user and system."""
        fields = Path(f"/proc/{self._operator.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident(self) -> float:
        """Resident memory in MB."""
        status = Path(f"/proc/{self._operator.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) / 1024 if found else 0.0

    def qdrant_requests(self) -> int:
        return int(httpx.get(f"{self._stub}/_count").json()["requests"])

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        text = httpx.get(f"{self._operator.url}/metrics", timeout=30).text
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def ready(cluster: Cluster, count: int, namespace: str) -> None:
    """Wait until every resource is Ready."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        found = cluster.all("VectorCollection")
        done = sum((each.get("status") or {}).get("phase") == "Ready" for each in found)
        if done == count:
            return
        time.sleep(10)
    raise TimeoutError(f"{done} of {count} resources in {namespace} were ready")


def measure(count: int, idle: float) -> dict[str, Any]:
    with ExitStack() as stack:
        plane = stack.enter_context(ControlPlane.start(CRDS))
        cluster = Cluster(plane.kubeconfig, stack.enter_context(plane.api_client()), "scale")
        cluster.create_namespace()
        port, folder = paths.free_port(), paths.new_run("stub")
        stub = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "benchmarks.stub_qdrant", str(port)]
        process = Process("stub", command, folder / "log", cwd=CRDS.parent)
        stack.callback(process.stop)
        cluster.apply(manifest(number, cluster.namespace, stub) for number in range(count))
        began = time.monotonic()
        first = Operator.start(plane.kubeconfig, "-n", cluster.namespace, *CREATING)
        try:
            ready(cluster, count, cluster.namespace)
        finally:
            first.stop()
        created = time.monotonic() - began
        operator = Operator.start(plane.kubeconfig, "-n", cluster.namespace)
        stack.callback(operator.stop)
        found = Measured(operator, stub)
        while found.metric("teal_reconciles_total") < count:
            time.sleep(0.5)
        start_cpu = found.cpu()
        time.sleep(SETTLE_SECONDS)
        return {
            "resources": count,
            "createAllSeconds": round(created, 1),
            "startCpuSeconds": round(start_cpu, 2),
            "memoryMB": round(found.resident(), 1),
            **idling(found, idle),
            "editMillis": round(edits(cluster, count, stub), 1),
        }


def idling(found: Measured, seconds: float) -> dict[str, Any]:
    cpu, qdrant = found.cpu(), found.qdrant_requests()
    kubernetes, began = found.metric("teal_kubernetes_requests_total"), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    return {
        "idleCpuPercent": round(100 * (found.cpu() - cpu) / took, 2),
        "qdrantRequestsPerMinute": round((found.qdrant_requests() - qdrant) * 60 / took, 1),
        "kubernetesRequestsPerMinute": round(
            (found.metric("teal_kubernetes_requests_total") - kubernetes) * 60 / took, 1
        ),
    }


def edits(cluster: Cluster, count: int, stub: str) -> float:
    """Milliseconds from an edit in place until the status shows it: the median of a few."""
    took = []
    for number in range(EDITS):
        name = f"vc-{number * count // EDITS:05d}"
        wanted = manifest(number * count // EDITS, cluster.namespace, stub, m=32)
        began = time.monotonic()
        cluster.apply([wanted])
        while True:
            each = cluster.get("VectorCollection", name)
            status = each.get("status") or {}
            if status.get("observedGeneration") == each["metadata"]["generation"] and status["phase"] == "Ready":
                break
            time.sleep(0.005)
        took.append((time.monotonic() - began) * 1000)
    return statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resources", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--idle", type=float, default=60.0, help="seconds to watch it idle")
    given = parser.parse_args()
    rows = []
    for count in given.resources:
        rows.append(measure(count, given.idle))
        print(json.dumps({"cores": os.cpu_count(), "qdrant": "stand-in", **rows[-1]}), flush=True)


if __name__ == "__main__":
    main()
