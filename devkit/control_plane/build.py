"""Builds etcd and the Kubernetes servers from the pinned module in `kube/`, once for each set of versions.

A server is either absent or complete: it is built elsewhere and moved to its place in one step, under a lock
that the kernel releases when its holder dies. So two builds never collide, and an interrupted build does no
harm.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from devkit import paths
from devkit.control_plane import go
from devkit.control_plane.report import Report
from devkit.processes import Process

MODULE = Path(__file__).parent / "kube"
PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
}


class BuildFailedError(RuntimeError):
    """Go could not build a server; the message has the end of its output."""


@cache
def version() -> str:
    """The Kubernetes version that is pinned, as `v1.36.3`."""
    pinned = re.search(r"^\s+k8s\.io/kubernetes (v\S+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    if pinned is None:
        raise BuildFailedError(f"{MODULE / 'go.mod'} does not require k8s.io/kubernetes")
    return pinned[1]


def server(name: str, report: Report) -> Path:
    """The executable of the server `name` (a key of `PACKAGES`), built now if it has not been before.

    Raises `BuildFailedError`, or `NoGoError` where there is no Go and none can be installed.
    """
    pins = hashlib.sha256((MODULE / "go.sum").read_bytes()).hexdigest()[:8]
    target = paths.home() / "bin" / f"{version()}-{pins}" / name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(target.parent / ".lock", report):
            if not target.exists():
                _build(target, report)
    return target


@contextmanager
def _lock(path: Path, report: Report) -> Iterator[None]:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another process is building the control plane: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(target: Path, report: Report) -> None:
    for abandoned in target.parent.glob(".build-*"):
        shutil.rmtree(abandoned)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=target.parent) as folder:
        work = Path(folder)
        command = [
            *(str(go.find(MODULE, report)), "build", "-C", str(MODULE), "-mod=readonly", "-v", "-trimpath"),
            *("-ldflags", _ldflags(version()), "-o", str(work / target.name)),
            PACKAGES[target.name],
        ]
        title = f"building {target.name} for Kubernetes {version()} (once, some minutes)"
        environment = {**go.environment(), "GOTMPDIR": folder}
        with Process("go build", command, work / "log", env=environment) as child:
            report.watch(child, title, lambda: _doing(work / "log"))
            if child.popen.returncode != 0:
                raise BuildFailedError(f"{' '.join(command)} failed:\n{child.tail()}")
        (work / target.name).rename(target)
    report(f"built {target}")


def _ldflags(release: str) -> str:
    """Without symbols, and with the version: a server without one reports v0.0.0, and clients complain."""
    major, minor = release.removeprefix("v").split(".")[:2]
    stamp = {"gitVersion": release, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return "-s -w " + " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in stamp.items())


def _doing(log: Path) -> str:
    """The current activity of Go: it names a module when it downloads it, a package when it compiles it."""
    lines = log.read_text(errors="replace").splitlines()
    if not lines:
        return "reading modules"
    if lines[-1].startswith("go: "):
        return lines[-1].removeprefix("go: ")
    compiled = sum(not line.startswith("go: ") for line in lines)
    return f"{compiled} packages, now {lines[-1]}"
