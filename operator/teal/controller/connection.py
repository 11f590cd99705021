"""How to reach the API server: in a pod by its service account, else by a kubeconfig as kubectl does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kubernetes.aio import config
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException
from yaml import YAMLError

DEFAULT_KUBECONFIG = str(Path.home() / ".kube" / "config")
SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class NoClusterError(Exception):
    """No configuration names an API server; the message says what was tried."""


@dataclass(frozen=True)
class Connection:
    """Where the API server is, the credentials for it, and the default namespace."""

    configuration: Configuration
    namespace: str


async def connect(kubeconfig: Path | None = None, context: str | None = None) -> Connection:
    """Read the connection again, so that renewed credentials are found.

    In a pod, if no argument is given and KUBECONFIG is not set, the service account is used.

    Raises:
        NoClusterError: there is no such kubeconfig, context or service account.
    """
    file = str(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG") or None
    try:
        if not file and not context and os.environ.get("KUBERNETES_SERVICE_HOST"):
            return _in_cluster()
        file = file or DEFAULT_KUBECONFIG
        return await _from_kubeconfig(file, context)
    except (ConfigException, OSError, YAMLError) as error:
        raise NoClusterError(
            f"no connection to the API server by {file or 'the service account'}: {error}"
        ) from error


def _in_cluster() -> Connection:
    configuration = Configuration()
    config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    return Connection(configuration, SERVICE_ACCOUNT_NAMESPACE.read_text().strip())


async def _from_kubeconfig(file: str, context: str | None) -> Connection:
    if not any(map(os.path.exists, file.split(os.pathsep))):
        raise ConfigException("there is no such kubeconfig")
    configuration = Configuration()
    await config.load_kube_config(file, context, configuration, persist_config=False)  # type: ignore[no-untyped-call]
    contexts, current = config.list_kube_config_contexts(file)  # type: ignore[no-untyped-call]
    chosen = next((each for each in contexts if each["name"] == context), current)
    return Connection(configuration, chosen["context"].get("namespace") or "default")
