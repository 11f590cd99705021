"""What `teal status` reads from the API server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kubernetes.aio.client import ApiClient, CustomObjectsApi

from teal.api.common import GROUP, VERSION
from teal.controller.connection import connect

PLURAL = "vectorcollections"


async def list_collections(
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    everywhere: bool,  # noqa: FBT001
) -> list[dict[str, Any]]:
    """VectorCollections as the API server has them, of one namespace or of all.

    Raises:
        NoClusterError: no kubeconfig or context says where the cluster is.
    """
    found = await connect(Path(kubeconfig) if kubeconfig else None, context)
    async with ApiClient(found.configuration) as client:
        api = CustomObjectsApi(client)
        answer: Any
        if everywhere:
            answer = await api.list_cluster_custom_object(GROUP, VERSION, PLURAL)
        else:
            where = namespace or found.namespace
            answer = await api.list_namespaced_custom_object(GROUP, VERSION, where, PLURAL)
    return list(answer["items"])
