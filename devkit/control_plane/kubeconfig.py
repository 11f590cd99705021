"""Reads and writes the parts of a kubeconfig that the devkit needs: one cluster, one user, one context."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import yaml
from kubernetes.client import ApiClient, AuthenticationV1TokenRequest, CoreV1Api, V1TokenRequestSpec
from kubernetes.config import new_client_from_config


def given() -> Path | None:
    """The kubeconfig that KUBECONFIG names, if it is set.

    Raises `ValueError` for a list of several files, because it must be clear which one is used.
    """
    value = os.environ.get("KUBECONFIG")
    if not value:
        return None
    if os.pathsep in value:
        raise ValueError(f"KUBECONFIG names several files ({value}): name the one to use")
    return Path(value)


def client(path: Path) -> ApiClient:
    """A client for the cluster and user of the kubeconfig at `path`; the caller closes it."""
    api_client: ApiClient = new_client_from_config(config_file=str(path))  # type: ignore[no-untyped-call]
    return api_client


def write_for_account(admin: Path, account: str, namespace: str, path: Path) -> Path:
    """Write to `path` a kubeconfig for a service account, by a token that the user of `admin` may ask for."""
    request = AuthenticationV1TokenRequest(spec=V1TokenRequestSpec(audiences=[], expiration_seconds=3600))
    with client(admin) as api_client:
        answer = CoreV1Api(api_client).create_namespaced_service_account_token(account, namespace, request).status
    if answer is None or answer.token is None:
        raise ValueError(f"the cluster of {admin} gave no token for {namespace}/{account}")
    cluster = _current_cluster(admin)
    authority = cluster.get("certificate-authority-data")
    if authority is None:
        raise ValueError(f"{admin} does not carry the authority of its cluster")
    return write(
        path,
        url=cluster["server"],
        certificate=base64.b64decode(authority),
        token=answer.token,
        user=account,
    )


def server_url(path: Path) -> str:
    """The URL of the API server in the current context of the kubeconfig at `path`."""
    return str(_current_cluster(path)["server"])


def _current_cluster(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(path.read_text())
    contexts = {entry["name"]: entry["context"] for entry in config.get("contexts") or ()}
    clusters = {entry["name"]: entry["cluster"] for entry in config.get("clusters") or ()}
    current = config.get("current-context")
    if current not in contexts:
        raise ValueError(f"{path} has no current context")
    cluster: dict[str, Any] = clusters[contexts[current]["cluster"]]
    return cluster


def write(path: Path, *, url: str, certificate: bytes, token: str, user: str = "admin") -> Path:
    """Write a kubeconfig for `user` with `token`, for the server at `url` with `certificate` (PEM)."""
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
