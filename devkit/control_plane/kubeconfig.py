"""Reads and writes the little of a kubeconfig that the devkit needs: one cluster, one user, one context."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import yaml


def given() -> Path | None:
    """The kubeconfig that KUBECONFIG names, if it is set.

    Raises `ValueError` for a list of several files: which of them a server is started from must be plain.
    """
    value = os.environ.get("KUBECONFIG")
    if not value:
        return None
    if os.pathsep in value:
        raise ValueError(f"KUBECONFIG names several files ({value}): name the one to use")
    return Path(value)


def server_url(path: Path) -> str:
    """The URL of the API server in the current context of the kubeconfig at `path`."""
    config: dict[str, Any] = yaml.safe_load(path.read_text())
    contexts = {entry["name"]: entry["context"] for entry in config.get("contexts") or ()}
    clusters = {entry["name"]: entry["cluster"] for entry in config.get("clusters") or ()}
    current = config.get("current-context")
    if current not in contexts:
        raise ValueError(f"{path} has no current context")
    return str(clusters[contexts[current]["cluster"]]["server"])


def write(path: Path, *, url: str, certificate: bytes, token: str, user: str = "admin") -> Path:
    """Write a kubeconfig for `user`, who shows `token` to the server at `url`, which shows `certificate` (PEM)."""
    authority = base64.b64encode(certificate).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "devkit", "cluster": {"server": url, "certificate-authority-data": authority}},
        ],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "devkit", "context": {"cluster": "devkit", "user": user}}],
        "current-context": "devkit",
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path
