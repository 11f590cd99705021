"""Which executables the control plane runs: those in KUBEBUILDER_ASSETS, else our own builds."""

from __future__ import annotations

import os
from pathlib import Path

from devkit.control_plane import build
from devkit.control_plane.report import Report

ETCD = "etcd"
API_SERVER = "kube-apiserver"
CONTROLLERS = "kube-controller-manager"


def executable(name: str, report: Report) -> Path:
    """The executable of the server `name`, built first if it must be.

    Raises `FileNotFoundError` if KUBEBUILDER_ASSETS is set and lacks it, and what `build.server` raises.
    """
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if not assets:
        return build.server(name, report)
    path = Path(assets) / name
    if not os.access(path, os.X_OK):
        raise FileNotFoundError(f"KUBEBUILDER_ASSETS is set, but there is no executable {path}")
    return path


def prepare(report: Report, *, controllers: bool = False) -> None:
    """Have every executable at hand, so that a start afterwards takes seconds. May take minutes, once."""
    for name in (ETCD, API_SERVER, CONTROLLERS) if controllers else (ETCD, API_SERVER):
        executable(name, report)
